"""The registry's password and authority are replaced while clients run: no restart, whatever the files contain in between."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from backpack_streams.bus import registry
from backpack_streams.bus.registry import KnownSchemas
from backpack_streams.bus.registry_client import RegistryAwayError, RegistryClient, RegistryConnection, RegistryError
from backpack_streams.errors import UsageError
from backpack_streams.runtime.kafka import registry_connection
from backpack_streams.runtime.settings import KafkaSettings

SCHEMA = '{"type": "string"}'


class Locked(ThreadingHTTPServer):
    """A registry with one schema, for clients with the password."""

    daemon_threads = True
    password = "first"


class Door(BaseHTTPRequestHandler):
    """Its answers."""

    server: Locked

    def do_GET(self) -> None:
        login = base64.b64encode(f"us:{self.server.password}".encode()).decode()
        is_known = self.headers.get("Authorization") == f"Basic {login}"
        answer = {"schema": SCHEMA} if is_known else {"error_code": 401, "message": "unauthorized"}
        body = json.dumps(answer).encode()
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


@contextmanager
def locked_registry(port: int, authority: trustme.CA | None = None) -> Iterator[Locked]:
    server = Locked(("127.0.0.1", port), Door)
    if authority is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    serving.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_a_replaced_password_is_used(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    with locked_registry(0) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        client = RegistryClient(RegistryConnection(url, username="us", password_file=file))
        assert client.text(1) == SCHEMA
        server.password = "second"
        file.unlink()
        with pytest.raises(RegistryError, match="refuses the credentials"):
            client.text(2)
        file.write_text("")
        with pytest.raises(RegistryError, match="refuses the credentials"):
            client.text(2)
        file.write_text("second\n")
        assert client.text(2) == SCHEMA


def test_a_replaced_authority_is_trusted(tmp_path: Path) -> None:
    before, after, file = trustme.CA(), trustme.CA(), tmp_path / "ca.pem"
    before.cert_pem.write_to_path(str(file))
    with locked_registry(0, before) as server:
        port = server.server_address[1]
        connection = RegistryConnection(f"https://127.0.0.1:{port}", username="us", password="first", ca_file=file)
        client = RegistryClient(connection)
        assert client.text(1) == SCHEMA
    with locked_registry(port, after):
        for content in (b"", after.cert_pem.bytes()[:200]):
            file.write_bytes(content)
            with pytest.raises(RegistryAwayError, match="CERTIFICATE_VERIFY_FAILED"):
                client.text(2)
        after.cert_pem.write_to_path(str(file))
        assert client.text(2) == SCHEMA


async def test_a_running_client_fetches_schemas_again_once_the_password_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "ASK_AGAIN_SECONDS", 0.0)
    file = tmp_path / "password"
    file.write_text("first\n")
    with locked_registry(0) as server:
        settings = KafkaSettings(
            bootstrap_servers="127.0.0.1:9",
            schema_registry_url=f"http://127.0.0.1:{server.server_address[1]}",
            schema_registry_username="us",
            schema_registry_password_file=file,
        )
        connection = registry_connection(settings)
        assert connection is not None
        known = KnownSchemas(RegistryClient(connection))
        server.password = "second"
        await known.fetch_texts([1])
        assert known.schema_text(1) is None
        file.write_text("second\n")
        await known.fetch_texts([1])
        assert known.schema_text(1) == SCHEMA


def test_wrong_credentials_at_the_start_are_usage_errors(tmp_path: Path) -> None:
    connection = RegistryConnection("http://127.0.0.1:9", username="us", password_file=tmp_path / "missing")
    with pytest.raises(UsageError, match="check schema_registry_password_file"):
        RegistryClient(connection)
    with pytest.raises(UsageError, match="set one of them"):
        RegistryConnection("http://127.0.0.1:9", username="us", password="x", password_file=tmp_path / "missing")
