"""Keys and signatures: correct by a vector computed elsewhere, and the private half is never shown."""

import base64
import copy
import pickle
import traceback

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.errors import UsageError
from backpack_streams.exchange.signing import SigningKey, SubscriptionSigner, subscription_message

# RFC 8032, section 7.1, TEST 2: secret key, public key, message, signature.
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
MESSAGE = bytes.fromhex("72")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
TEXT = base64.b64encode(SEED).decode()

# The exchange's own signing string, signed by the reference code of RFC 8032, section 6 (no library of ours).
TIMESTAMP_MS, WINDOW_MS = 1_750_793_021_519, 5_000
SUBSCRIBE_SIGNATURE = "eYAl8NFslwVKePK1dShLuo4smNk3Z1Npg41IBrdv86dn4t98WPfBPybD5LacCg6hVJoh+947VK8wb8dFcK6GDw=="


def pem(key: PrivateKeyTypes, encryption: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


def test_signatures_match_the_rfc() -> None:
    key = SigningKey.from_text(TEXT)
    assert base64.b64decode(key.public_key) == PUBLIC
    assert base64.b64decode(key.sign(MESSAGE)) == SIGNATURE


def test_a_subscription_is_signed_as_the_exchange_documents_it() -> None:
    assert subscription_message(TIMESTAMP_MS, WINDOW_MS) == b"instruction=subscribe&timestamp=1750793021519&window=5000"
    signer = SubscriptionSigner(SigningKey.from_text(TEXT), lambda: TIMESTAMP_MS, WINDOW_MS)
    assert signer() == (base64.b64encode(PUBLIC).decode(), SUBSCRIBE_SIGNATURE, "1750793021519", "5000")


def test_each_signature_uses_the_time_of_its_call() -> None:
    times = iter([1_000, 2_000])
    signer = SubscriptionSigner(SigningKey.from_text(TEXT), lambda: next(times))
    first, second = signer(), signer()
    assert (first.timestamp_ms, second.timestamp_ms, signer.signatures) == ("1000", "2000", 2)
    assert first.signature != second.signature


@pytest.mark.parametrize("form", [TEXT, TEXT + "\n", f"  {TEXT} \r\n", TEXT[:20] + "\n" + TEXT[20:]])
def test_a_seed_is_accepted_in_the_forms_files_hold(form: str) -> None:
    assert base64.b64decode(SigningKey.from_text(form).public_key) == PUBLIC


def test_pem_is_accepted() -> None:
    text = pem(ed25519.Ed25519PrivateKey.from_private_bytes(SEED))
    assert base64.b64decode(SigningKey.from_text(text).public_key) == PUBLIC


BAD = {
    "": "0 bytes",
    "not base64!": "not base64",
    "ßß": "not base64",
    base64.b64encode(SEED[:31]).decode(): "31 bytes",
    base64.b64encode(SEED + PUBLIC).decode(): "64 bytes",
    SEED.hex(): "48 bytes",
    pem(rsa.generate_private_key(65537, 2048)): "RSA",
    pem(ec.generate_private_key(ec.SECP256R1())): "type EC",
    pem(x25519.X25519PrivateKey.generate()): "X25519",
    pem(ed25519.Ed25519PrivateKey.from_private_bytes(SEED), BestAvailableEncryption(b"word")): "encrypted",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n": "unreadable PEM",
    "-----BEGIN CERTIFICATE-----\nMC4CAQ==\n-----END CERTIFICATE-----\n": "unreadable PEM",
}


@pytest.mark.parametrize(("text", "words"), BAD.items(), ids=list(BAD.values()))
def test_anything_but_an_ed25519_key_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        SigningKey.from_text(text)
    message = str(refused.value)
    assert words in message
    assert "\n" not in message


@given(st.text(max_size=120) | st.binary(max_size=80).map(lambda raw: base64.b64encode(raw).decode()))
def test_a_refused_text_is_never_shown(text: str) -> None:
    text = f"Zq9{text}Zq9"
    try:
        SigningKey.from_text(text)
    except UsageError as error:
        shown = "".join(traceback.format_exception(error))
        assert "Zq9" not in shown


def test_a_key_shows_only_its_public_half_and_cannot_be_copied() -> None:
    key = SigningKey.from_text(TEXT)
    signer = SubscriptionSigner(key, lambda: 1)
    for shown in (repr(key), str(key), f"{key}", repr(signer), repr(signer())):
        assert TEXT not in shown
        assert SEED.hex() not in shown
    assert base64.b64encode(PUBLIC).decode() in repr(key)
    for forbidden in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            forbidden(key)
