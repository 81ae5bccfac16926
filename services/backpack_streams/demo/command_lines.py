"""The arguments and the environment of each program that the demo starts. Sans I/O."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import backpack_streams
from backpack_streams.demo.account import DemoAccount
from backpack_streams.demo.ports import HOST, DemoPorts
from backpack_streams.demo.settings import DemoSettings
from backpack_streams.runtime.settings_fields import VARIABLE_PREFIX

__all__ = ["SANDBOX", "child_environment", "has_account", "sandbox_command", "service_command", "services"]

SANDBOX: Final = "sandbox"
_OTHER_SETTING_VARIABLES: Final = frozenset({"SCHEMA_REGISTRY_URL"})
_IMPORT_ROOT: Final = Path(backpack_streams.__file__).parents[1]


def _no_flags(*_: object) -> Sequence[str]:
    return ()


def _account_flags(_: DemoSettings, __: DemoPorts, account: DemoAccount | None) -> Sequence[str]:
    return () if account is None else ("--private-key-file", str(account.key_file))


def _gateway_flags(settings: DemoSettings, ports: DemoPorts, _: DemoAccount | None) -> Sequence[str]:
    flags = ["--host", HOST, "--port", str(ports.gateway)]
    return flags if settings.live else [*flags, "--rest-url", ports.rest_url]


@dataclass(frozen=True, slots=True)
class _Service:
    """One service of the demo. Its row in `_SERVICES` is all that the demo needs to run, show and restart it."""

    name: str
    is_at_exchange: bool = True
    """Whether it is given the exchange's addresses; every service is given Kafka's."""
    needs_account: bool = False
    flags: Callable[[DemoSettings, DemoPorts, DemoAccount | None], Sequence[str]] = _no_flags
    """Returns the flags of this service alone."""


_SERVICES: Final = (
    _Service("market-producer"),
    _Service("perp-producer"),
    _Service("rest-poller"),
    _Service("book-builder", is_at_exchange=False),
    _Service("gateway", is_at_exchange=False, flags=_gateway_flags),
    _Service("account-producer", needs_account=True, flags=_account_flags),
)


def has_account(settings: DemoSettings) -> bool:
    """Whether there is an account to show: at the real exchange only its owner has a key, and a recording has no account."""
    return not settings.live and settings.recording is None


def services(settings: DemoSettings) -> tuple[str, ...]:
    """Return the services that the demo runs, in the order of their start."""
    return tuple(each.name for each in _SERVICES if not each.needs_account or has_account(settings))


def sandbox_command(settings: DemoSettings, ports: DemoPorts, account: DemoAccount | None = None) -> list[str]:
    """Return the sandbox's command line.

    Args:
        settings: the number of markets, the rate, or the recording, whose times are shifted to now.
        ports: those of the sandbox are used.
        account: its public key may subscribe to private streams; None for no account.
    """
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
    """Return a service's command line; without URLs the service uses the real exchange.

    Args:
        name: one of `services`.
        settings: whether the exchange is the real one, and the log's level and format.
        ports: the addresses of Kafka, the registry and the sandbox.
        metrics_port: port of its metrics and its health.
        account: the account's key, for the service that needs it.

    Raises:
        ValueError: the demo has no such service.
    """
    [service] = [each for each in _SERVICES if each.name == name]
    command = [*_program(name), "--bootstrap-servers", ports.bootstrap_servers, "--metrics-port", str(metrics_port)]
    if ports.registry_url is not None:
        command += ["--schema-registry-url", ports.registry_url]
    if not settings.live and service.is_at_exchange:
        command += ["--ws-url", ports.ws_url, "--rest-url", ports.rest_url]
    command += service.flags(settings, ports, account)
    return [*command, "--log-level", settings.log_level, "--log-format", log_format(settings)]


def log_format(settings: DemoSettings) -> str:
    """Return the format of the log files: text for people, unless JSON is requested."""
    return "json" if settings.log_format == "json" else "text"


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without any setting: a setting for the demo or for another service must not reach the demo's services.

    `PYTHONPATH` begins with the folder from which this process imported the package.

    Args:
        environment: the environment of this process; it is not changed.
    """
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
