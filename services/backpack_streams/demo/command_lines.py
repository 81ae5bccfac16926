"""The arguments and the environment of each program that the demo starts. Sans I/O."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import backpack_streams
from backpack_streams.demo.account import DemoAccount
from backpack_streams.demo.ports import DemoPorts
from backpack_streams.demo.settings import DemoSettings
from backpack_streams.runtime.settings_fields import VARIABLE_PREFIX

__all__ = ["SANDBOX", "child_environment", "has_account", "sandbox_command", "service_command", "services"]

SANDBOX: Final = "sandbox"
_BOOK_SERVICE: Final = "book-builder"
"""It connects only to Kafka."""
_PUBLIC_SERVICES: Final = ("market-producer", "perp-producer", "rest-poller", _BOOK_SERVICE)
_ACCOUNT_SERVICE: Final = "account-producer"
_OTHER_SETTING_VARIABLES: Final = frozenset({"SCHEMA_REGISTRY_URL"})
_IMPORT_ROOT: Final = Path(backpack_streams.__file__).parents[1]


def has_account(settings: DemoSettings) -> bool:
    """Whether there is an account to show: at the real exchange only its owner has a key, and a recording has no account."""
    return not settings.live and settings.recording is None


def services(settings: DemoSettings) -> tuple[str, ...]:
    """Return the services that the demo runs."""
    return (*_PUBLIC_SERVICES, _ACCOUNT_SERVICE) if has_account(settings) else _PUBLIC_SERVICES


def sandbox_command(settings: DemoSettings, ports: DemoPorts, account: DemoAccount | None = None) -> list[str]:
    """Return the sandbox's command line."""
    command = _program(SANDBOX)
    command += ["--ws-port", str(ports.ws), "--rest-port", str(ports.rest), "--control-port", str(ports.control)]
    if account is not None:
        command += ["--account-key", account.public_key]
    if settings.symbols is not None:
        command += ["--symbols", str(settings.symbols)]
    if settings.rate is not None:
        command += ["--rate", str(settings.rate)]
    if settings.recording is not None:
        # Kafka deletes records by their timestamps: those of an old recording would be gone within minutes.
        command += ["--recording", str(settings.recording.absolute()), "--retime"]
    return command


def service_command(
    name: str, settings: DemoSettings, ports: DemoPorts, metrics_port: int, account: DemoAccount | None = None
) -> list[str]:
    """Return a service's command line; without URLs the service uses the real exchange."""
    command = [*_program(name), "--bootstrap-servers", ports.bootstrap_servers, "--metrics-port", str(metrics_port)]
    if ports.registry_url is not None:
        command += ["--schema-registry-url", ports.registry_url]
    if not settings.live and name != _BOOK_SERVICE:
        command += ["--ws-url", ports.ws_url, "--rest-url", ports.rest_url]
    if name == _ACCOUNT_SERVICE and account is not None:
        command += ["--private-key-file", str(account.key_file)]
    return [*command, "--log-level", settings.log_level, "--log-format", log_format(settings)]


def log_format(settings: DemoSettings) -> str:
    """Return the format of the log files: text for people, unless JSON is requested."""
    return "json" if settings.log_format == "json" else "text"


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without any setting: a setting for the demo or for another service must not reach the demo's services."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(VARIABLE_PREFIX) and name not in _OTHER_SETTING_VARIABLES
    }
    # The programs import the package from the same place as this process.
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_IMPORT_ROOT), environment.get("PYTHONPATH", "")]))
    return kept


def _program(name: str) -> list[str]:
    # -P: a file in the current folder must not be imported in place of a module of the same name.
    return [sys.executable, "-P", "-m", "backpack_streams.cli.main", name]
