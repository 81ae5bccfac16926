"""How to reach Kafka and log in: settings without effect are refused, secrets are not shown, and no client is imported."""

import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiokafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailed

from backpack_streams.bus.connection import KafkaConnection, KafkaRefusedError, KafkaUnreachableError
from backpack_streams.errors import BusError, UsageError

SASL = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"security_protocol": "TLS"}, "not one of PLAINTEXT, SSL"),
        ({"sasl_username": "me"}, "sasl_username has no effect with security_protocol PLAINTEXT: set it to SASL_SSL"),
        ({"sasl_password": "secret-word"}, "sasl_password has no effect"),
        ({"security_protocol": "SASL_SSL"}, "needs sasl_mechanism, one of PLAIN"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "scram"}, "not 'scram'"),
        (SASL | {"sasl_username": "me"}, "SCRAM-SHA-512 needs sasl_password"),
        (SASL | {"sasl_mechanism": "OAUTHBEARER"}, "needs sasl_oauth_token_file"),
        ({"ssl_ca_file": "ca.pem"}, "ssl_ca_file has no effect with security_protocol PLAINTEXT: set it to SSL"),
        ({"security_protocol": "SSL", "ssl_key_file": "key.pem"}, "needs ssl_cert_file"),
    ],
)
def test_settings_that_protect_nothing_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as error:
        KafkaConnection("kafka:9092", **fields)
    assert told in str(error.value)
    assert "secret-word" not in str(error.value)


def test_secrets_are_not_shown() -> None:
    settings = KafkaConnection("kafka:9093", **SASL, sasl_username="me", sasl_password="secret-word")
    assert "secret-word" not in repr(settings) + str(settings)
    options = settings.client_options()
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("me", "secret-word")


def test_files_may_be_given_as_text_and_relative_to_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours = authority.issue_cert("client")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    settings = KafkaConnection(
        "kafka:9093", "SSL", ssl_ca_file="~/ca.pem", ssl_cert_file=str(tmp_path / "own.pem"), ssl_check_hostname=False
    )
    context = settings.client_options()["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert (context.check_hostname, len(context.get_ca_certs())) == (False, 1)
    with pytest.raises(UsageError, match="does not exist"):
        KafkaConnection("kafka:9093", "SSL", ssl_ca_file=tmp_path / "none.pem").client_options()
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="are unusable"):
        KafkaConnection("kafka:9093", "SSL", ssl_ca_file=tmp_path / "bad.pem").client_options()


async def test_a_token_is_read_each_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    fields = SASL | {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_file": str(token)}
    provider = KafkaConnection("kafka:9093", **fields).client_options()["sasl_oauth_token_provider"]
    assert await provider.token() == "first"
    token.write_text("second\n")
    assert await provider.token() == "second"
    token.unlink()
    assert await provider.token() == "second", "a file that is just replaced is no reason to end"
    with pytest.raises(UsageError, match="cannot be read"):
        KafkaConnection("kafka:9093", **fields).client_options()


def test_a_password_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with pytest.raises(UsageError, match="set one of them"):
        KafkaConnection("kafka:9093", **SASL, sasl_username="me", sasl_password="word", sasl_password_file=file)
    settings = KafkaConnection("kafka:9093", **SASL, sasl_username="me", sasl_password_file=file)
    with pytest.raises(UsageError, match=r"cannot be read .*: check sasl_password_file"):
        settings.client_options()
    for content, password in (("first\n", "first"), ("second", "second"), ("", "second"), (None, "second")):
        file.unlink() if content is None else file.write_text(content)
        assert settings.client_options()["sasl_plain_password"] == password


def own_certificate(file: Path, authority: trustme.CA, name: str) -> None:
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(file)


def test_changed_tls_files_are_used_once_they_match(tmp_path: Path) -> None:
    old, new, own = trustme.CA(), trustme.CA(), tmp_path / "own.pem"
    trusted = tmp_path / "ca.pem"
    old.cert_pem.write_to_path(trusted)
    own_certificate(own, old, "client")
    context = KafkaConnection("kafka:9093", "SSL", ssl_ca_file=trusted, ssl_cert_file=own).client_options()[
        "ssl_context"
    ]

    def certificate(of: Any) -> bytes:
        return bytes(of.get_ca_certs(binary_form=True)[0])

    first = certificate(context)
    for broken in (lambda: own.write_text("half"), own.unlink):
        broken()
        new.cert_pem.write_to_path(trusted)
        assert certificate(context) == first
        assert context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="kafka").context.check_hostname
    own_certificate(own, new, "client")
    assert certificate(context) != first
    assert certificate(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="kafka").context) != first


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SaslAuthenticationFailed("no"), KafkaRefusedError),
        (KafkaConnectionError("no"), KafkaUnreachableError),
        (TimeoutError(), KafkaUnreachableError),
        (KafkaError("no"), KafkaRefusedError),
        (RuntimeError("no"), BusError),
    ],
)
def test_a_failure_says_what_to_check(error: Exception, kind: type[BusError]) -> None:
    told = KafkaConnection("kafka:9093").explain(error)
    assert type(told) is kind
    assert "kafka:9093" in str(told)


def test_settings_import_no_client() -> None:
    code = "import sys, backpack_streams.bus.connection; print('aiokafka' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
