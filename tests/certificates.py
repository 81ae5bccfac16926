"""A certificate authority for tests, and the certificates it signs for brokers and clients."""

import ssl
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


def pkcs8_pem(certificate: trustme.LeafCert) -> bytes:
    """Key and chain in the form that Java reads: trustme writes the key in the older form."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain


class Certificates:
    """An authority, the broker's certificate and a client's."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.broker = folder / "broker.pem"
        self.broker.write_bytes(pkcs8_pem(self.authority.issue_cert("127.0.0.1")))
        self.trusted = folder / "authority.pem"
        self.authority.cert_pem.write_to_path(str(self.trusted))

    def context(self, *, with_client_certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if with_client_certificate:
            self.authority.issue_cert("client@example.com").configure_cert(context)
        return context
