from pathlib import Path
from typing import Any

import pytest

from backpack_streams.errors import EmbeddedError
from embedded_kafka.security import BrokerSecurity

KEYSTORE = Path("/keys/broker.pem")
TRUSTSTORE = Path("/keys/authority.pem")


def test_plain_users_stand_in_the_login_line() -> None:
    security = BrokerSecurity("SASL_PLAINTEXT", "PLAIN", {"alice": "a-1", "bob": "b-2"})
    login = security.properties()["listener.name.client.plain.sasl.jaas.config"]
    assert login.endswith('PlainLoginModule required user_alice="a-1" user_bob="b-2";')
    assert security.format_arguments() == []


def test_scram_users_are_made_when_the_folder_is_formatted() -> None:
    security = BrokerSecurity("SASL_SSL", "SCRAM-SHA-512", {"alice": "a-1"}, keystore=KEYSTORE)
    assert security.format_arguments() == ["--add-scram", "SCRAM-SHA-512=[name=alice,password=a-1]"]
    properties = security.properties()
    assert properties["sasl.enabled.mechanisms"] == "SCRAM-SHA-512"
    assert "a-1" not in "".join(properties.values())


def test_client_certificates_are_asked_for_only_when_wanted() -> None:
    name = "listener.name.client.ssl.client.auth"
    assert BrokerSecurity("SSL", keystore=KEYSTORE).properties()[name] == "none"
    wanted = BrokerSecurity("SSL", keystore=KEYSTORE, truststore=TRUSTSTORE, client_auth_required=True).properties()
    assert wanted[name] == "required"
    assert wanted["listener.name.client.ssl.truststore.location"] == "/keys/authority.pem"


@pytest.mark.parametrize(
    "parts",
    [
        {"protocol": "SSL"},
        {"protocol": "SSL", "keystore": KEYSTORE, "client_auth_required": True},
        {"protocol": "SASL_PLAINTEXT"},
        {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN"},
        {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN", "users": {"a": 'x"y'}},
        {"protocol": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-256", "users": {"a": "x,y"}},
        {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN", "users": {"a": ""}},
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(EmbeddedError):
        BrokerSecurity(**parts)
