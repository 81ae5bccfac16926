"""Real faults of real processes, watched by a real Prometheus: each alert fires.

The rules are those that are shipped, with times shortened (`rule_file.SHORTER_BY`) and thresholds in seconds lowered as `THRESHOLDS`
says. Three plants run side by side, so that one fault does not hide another; all faults are ordered at the beginning or in `_Faults`,
and each test waits for its alert. What fires has been seen to render: its annotations hold no error of a template.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from account_key import Key
from backpack_streams.markets.known_markets import ABSENT_SECONDS
from embedded_kafka import BlockingKafka, EmbeddedKafka
from kafka_faults import RIGHTS_CAN_BE_DENIED, deny_reading, limit_records, throttle_reading, write_garbage
from observability.debian_prometheus import Programs
from observability.prometheus_server import PrometheusServer
from observability.rule_file import alerts, shortened
from plant import Plant, Process, Service, free_port, keep_asking, running_plant, wait_until

THRESHOLDS: Final = {
    "BackpackNoData": ("> 120", "> 10"),
    "BackpackGapsOpen": ("> 300", "> 5"),
    "BackpackRefillsLate": ("> 3600", "> 5"),
    "BackpackBooksNotLive": ("> 300", "> 5"),
    "BackpackAuditsOverdue": ("> 3600", "> 10"),
    "BackpackCheckpointsOverdue": ("> 120", "> 4"),
    "BackpackBuilderLag": ("> 60", "> 3"),
    "BackpackKafkaNotAcknowledging": ("> 60", "> 3"),
    "BackpackKafkaReadsFailing": ("> 5", "> 2"),
    "BackpackRestAnswersOld": ("+ 600", "+ 5"),
    "BackpackDataOld": ("[2m]", "[10m]"),  # late frames come in bursts
    "BackpackServiceRestarting": ("[30m]", "[3h]"),  # three starts of a process take a while on a busy machine
    # Of what is counted, shorter times bring less.
    "BackpackReconnectStorm": ("> 10", "> 3"),
    "BackpackSignatureRefused": ("[5m]) > 3", "[30m]) > 1"),
    "BackpackRestRefused": ("> 5", "> 1"),
    "BackpackStreamsDoubted": ("> 5", "> 1"),  # the plant has three markets, each doubted once a minute at the most
}
FIRES_IN: Final = {
    "BackpackAuditMismatch": "book-builder",
    "BackpackAuditsOverdue": "book-builder",
    "BackpackBooksNotLive": "book-builder",
    "BackpackBuilderLag": "book-builder",
    "BackpackCheckpointsOverdue": "book-builder",
    "BackpackClockOff": "account-producer",
    "BackpackDataLost": "account-producer",
    "BackpackDataOld": "book-builder",
    "BackpackDeadLetters": "market-producer",
    "BackpackEventLoopLag": "book-builder",
    "BackpackGapsOpen": "rest-poller",
    "BackpackGatewayBooksNotLive": "gateway",
    "BackpackGatewayFailing": "gateway",
    "BackpackGatewayRecordsUnreadable": "gateway",
    "BackpackGatewayUnavailable": "gateway",
    "BackpackKafkaBufferFilling": "market-producer",
    "BackpackKafkaNotAcknowledging": "market-producer",
    "BackpackKafkaReadsFailing": "rest-poller",
    "BackpackMarketsDisappeared": "market-producer",
    "BackpackNoData": "perp-producer",
    "BackpackReconnectStorm": "account-producer",
    "BackpackRecordsRefused": "market-producer",
    "BackpackRecordsRejected": "market-producer",
    "BackpackRefillsLate": "rest-poller",
    "BackpackRegistryDown": "perp-producer",
    "BackpackReportsLost": "market-producer",
    "BackpackRestAnswersOld": "rest-poller",
    "BackpackRestBudgetExhausted": "rest-poller",
    "BackpackRestRefused": "rest-poller",
    "BackpackServiceDown": "perp-producer",
    "BackpackServiceMissing": "account-producer",
    "BackpackServiceNotReady": "perp-producer",
    "BackpackServiceRestarting": "perp-producer",
    "BackpackShardMissing": "perp-producer",
    "BackpackSignatureRefused": "account-producer",
    "BackpackStreamsDoubted": "market-producer",
    "BackpackStreamsNotSubscribed": "account-producer",
    "BackpackStreamsSilent": "perp-producer",
    "BackpackWatermarksOld": "market-producer",
}
FIRED_WITHIN_SECONDS = 180.0
"""Most do within half a minute; a machine that is busy with other things starts so many processes slowly."""
BELIEVED_WITHIN_SECONDS = ABSENT_SECONDS + FIRED_WITHIN_SECONDS
"""What is missing from the list of markets has to be missing for a while before that counts."""


class _Faults:
    """The plants, their Prometheus and what is done to them."""

    def __init__(self, kafka: BlockingKafka, own_kafka: BlockingKafka, folder: Path, stack: ExitStack) -> None:
        self._own_kafka = own_kafka
        self.targets: dict[str, list[int]] = {}
        self.over = threading.Event()
        self.trouble: list[BaseException] = []
        self._stack = stack
        self._key = Key(folder)
        plants = []
        for name, broker in (("books", kafka), ("settings", kafka), ("kafka", own_kafka)):
            (folder / name).mkdir()
            plants.append(stack.enter_context(running_plant(broker.bootstrap_servers, folder / name, f"{name}.")))
        self._books, self._settings, self._kafka = plants

    def start(self) -> None:
        """Everything that runs, and what is wrong from the beginning."""
        self._start_books(self._books)
        self._start_settings(self._settings)
        self._start_kafka(self._kafka)

    def _run(self, plant: Plant, service: str, *options: str) -> Service:
        process = plant.start(service, *options)
        self.targets.setdefault(service, []).append(process.port)
        return process

    def _start_books(self, plant: Plant) -> None:
        """Books are right until frames are corrupted; the poller may send fewer requests than it wants to."""
        plant.start_exchange("--symbols", "3", "--rate", "60")
        refreshes = ("--snapshot-refresh", "0.5", "--ticker-refresh", "2", "--funding-rate-refresh", "1")
        self._run(plant, "rest-poller", "--rate-limit-share", "0.1", *refreshes)
        self._producer = self._run(plant, "market-producer", "--streams", "depth,trade,ticker")
        self._prices = self._run(plant, "perp-producer", "--streams", "markPrice")
        self._builder = self._run(plant, "book-builder")
        self._slow = self._run(plant, "book-builder", "--group-id", "slow-builder")
        self._gateway = self._run(plant, "gateway", "--port", str(free_port()))

    def _start_settings(self, plant: Plant) -> None:
        """One of two shards, a registry that is not there, an account, and a producer that looks at the market list often."""
        plant.start_exchange("--symbols", "3", "--rate", "60", "--account-key", self._key.public)
        self._shard = self._run(plant, "perp-producer", "--shard-index", "0", "--shard-count", "2")
        self._run(plant, "perp-producer", "--schema-registry-url", f"http://127.0.0.1:{free_port()}")
        key = ("--private-key-file", str(self._key.file))
        self._account = self._run(plant, "account-producer", *key, "--clock-check", "2")
        self._lists = self._run(plant, "market-producer", "--streams", "depth,bookTicker", "--market-refresh", "5")

    def _start_kafka(self, plant: Plant) -> None:
        """A buffer that is soon full, a builder that writes no checkpoints, a poller that takes no snapshots to audit with."""
        plant.start_exchange("--symbols", "3", "--rate", "300")
        self._run(plant, "rest-poller", "--snapshot-refresh", "0")
        self._full = self._run(plant, "market-producer", "--streams", "depth,trade", "--buffer-mib", "1")
        self._run(plant, "book-builder", "--client-id", "throttled", "--group-id", "throttled-builder")
        never = ("--checkpoint-seconds", "3600", "--checkpoint-updates", "1000000000")
        self._run(plant, "book-builder", *never, "--group-id", "kafka-builder")
        port = free_port()
        self._run(plant, "gateway", "--port", str(port))
        question = f"http://127.0.0.1:{port}/v1/ticker", self.over
        threading.Thread(target=keep_asking, args=question, daemon=True).start()

    def make(self, prometheus: PrometheusServer) -> None:
        """All other faults, each on a thread where one goes on for some time."""
        for faults in (self._corrupt, self._close_the_exchange, self._restart, self._starve, self._take_kafka_away):
            threading.Thread(target=self._guarded, args=(faults, prometheus), daemon=True).start()

    def _guarded(self, faults: Callable[[PrometheusServer], None], prometheus: PrometheusServer) -> None:
        try:
            faults(prometheus)
        except BaseException as error:  # noqa: BLE001  # told by the test that waits for what did not come
            self.trouble.append(error)

    def _corrupt(self, prometheus: PrometheusServer) -> None:
        exchange = self._books.exchange
        wait_until("prices come", lambda: shown(self._prices, "frames_total") > 0, FIRED_WITHIN_SECONDS)
        exchange.order("freeze", stream="markPrice", seconds=600)
        matches = 'book_audits_total{result="MATCH"}'
        wait_until("audits run", lambda: shown(self._builder, matches) > 3, FIRED_WITHIN_SECONDS)
        exchange.order("rest-5xx", path="/api/v1/tickers", seconds=600)
        wait_for_series(prometheus, f'backpack_streams_dead_letters_total{{instance=~".*:{self._producer.port}"}}')
        exchange.order("garbage", stream="trade", count=3)
        wait_for_series(
            prometheus, f'backpack_streams_gateway_undecodable_records_total{{instance=~".*:{self._gateway.port}"}}'
        )
        wait_until("the gateway has met a foreign record", self._gateway_meets_garbage, FIRED_WITHIN_SECONDS)
        exchange.order("corrupt", stream="depth", count=50)
        wait_for(prometheus, "BackpackAuditMismatch")
        # Every frame comes late from now on: old when it reaches the socket.
        exchange.order("snapshot-ahead", stream="depth", delay=20, seconds=600)

    def _gateway_meets_garbage(self) -> bool:
        """Write garbage; whether the gateway has counted some. While it joins it reads the newest record of each market only, and so
        passes over garbage that a ticker has followed.
        """
        write_garbage(self._books.bootstrap_servers, "books.market.ticker")
        return shown(self._gateway, "gateway_undecodable_records_total") > 0

    def _close_the_exchange(self, prometheus: PrometheusServer) -> None:
        """No market is listed and no depth delivered. A socket breaks, no signature is right any more, then no socket is let in, then the
        account's service is gone.
        """
        exchange = self._settings.exchange
        wait_until("book tickers come", lambda: shown(self._lists, "frames_total") > 0, FIRED_WITHIN_SECONDS)
        exchange.order("markets-empty", seconds=600)
        exchange.order("freeze", stream="depth", seconds=600)
        wait_for(prometheus, "BackpackStreamsDoubted")
        # An account's gaps are times in which no subscription stood: one has to stand first, and Prometheus to have seen it.
        wait_for_series(prometheus, 'sum_over_time(backpack_streams_service_ready{job="account-producer"}[20s]) >= 3')
        exchange.order("cut")
        wait_for(prometheus, "BackpackDataLost")
        exchange.order("clock-offset", offset=600)
        exchange.order("cut")
        wait_for(prometheus, "BackpackSignatureRefused")
        exchange.order("refuse", seconds=600, on="ws")
        exchange.order("cut")
        wait_for(prometheus, "BackpackReconnectStorm")
        wait_for(prometheus, "BackpackStreamsNotSubscribed")
        self._account.kill()
        prometheus.scrape({job: ports for job, ports in self.targets.items() if job != "account-producer"})

    def _restart(self, prometheus: PrometheusServer) -> None:
        """A producer starts again and again, and then no more."""
        process: Process = self._shard
        for _ in range(4):
            wait_until(
                "it says when it started",
                lambda: shown(self._shard, "service_start_time_seconds") > 0,
                FIRED_WITHIN_SECONDS,
            )
            self.over.wait(4.5)  # so that Prometheus has seen it
            process.kill()
            process = Process(self._shard.arguments, self._shard.log)
            self._stack.callback(process.kill)
        wait_for(prometheus, "BackpackServiceRestarting")
        wait_for(prometheus, "BackpackShardMissing")
        process.kill()

    def _starve(self, prometheus: PrometheusServer) -> None:
        """A builder gets hardly any processor time."""
        wait_until("it keeps books", lambda: shown(self._slow, "books") > 0, FIRED_WITHIN_SECONDS)
        while not self.over.is_set():
            self._slow.popen.send_signal(signal.SIGSTOP)
            self.over.wait(0.85)
            self._slow.popen.send_signal(signal.SIGCONT)
            self.over.wait(0.12)

    def _take_kafka_away(self, prometheus: PrometheusServer) -> None:
        wait_until("it publishes", lambda: shown(self._full, "published_records_total") > 100, FIRED_WITHIN_SECONDS)
        exchange = self._kafka.exchange
        throttle_reading(self._own_kafka, "throttled", 1_000)
        wait_for(prometheus, "BackpackCheckpointsOverdue")
        for path in ("/api/v1/depth", "/api/v1/trades"):
            exchange.order("rest-5xx", path=path)
        for stream in ("depth", "trade"):
            exchange.order("drop", stream=stream, count=3)
        for alert in ("BackpackGapsOpen", "BackpackBooksNotLive", "BackpackRefillsLate"):
            wait_for(prometheus, alert)
        exchange.order("rest-5xx", status=429, path="/api/v1/tickers")
        wait_for(prometheus, "BackpackRestRefused")
        deny_reading(self._own_kafka, "kafka.ops.gap")
        wait_for(prometheus, "BackpackKafkaReadsFailing")
        # Neither what is refused nor the report of it may be that long.
        for topic in ("ops.dead_letter", "market.trade"):
            limit_records(self._own_kafka, f"kafka.{topic}", 80)
        for alert in ("BackpackRecordsRejected", "BackpackReportsLost", "BackpackBuilderLag"):
            wait_for(prometheus, alert)
        self._own_kafka.stop_broker(0, kill=True)


def shown(service: Service, name: str) -> float:
    """The value of a metric; 0 while the service does not answer yet."""
    try:
        return service.metric(name)
    except OSError:
        return 0.0


def wait_for(prometheus: PrometheusServer, alert: str) -> None:
    wait_until(f"{alert} fires", lambda: (alert, FIRES_IN[alert]) in prometheus.ever_fired(), FIRED_WITHIN_SECONDS)


def wait_for_series(prometheus: PrometheusServer, expression: str) -> None:
    """A counter that has risen before it was seen for the first time has not risen, as far as Prometheus knows."""
    wait_until(f"{expression} is there", lambda: bool(prometheus.query(expression)), FIRED_WITHIN_SECONDS)


@pytest.fixture(scope="module")
def faults(
    kafka: BlockingKafka, prometheus_programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[_Faults, PrometheusServer]]:
    folder = tmp_path_factory.mktemp("faults")
    with ExitStack() as stack:
        own_kafka = stack.enter_context(
            BlockingKafka(EmbeddedKafka(folder / "own-kafka", port=0, properties=RIGHTS_CAN_BE_DENIED))
        )
        made = _Faults(kafka, own_kafka, folder, stack)
        made.start()
        prometheus = PrometheusServer(prometheus_programs.prometheus, folder, made.targets, shortened(THRESHOLDS))
        stack.callback(prometheus.stop)
        stack.callback(made.over.set)
        made.make(prometheus)
        yield made, prometheus


def test_every_alert_is_made() -> None:
    assert {rule["alert"] for rule in alerts()} == FIRES_IN.keys()


@pytest.mark.parametrize("alert", sorted(FIRES_IN))
def test_the_alert_fires(faults: tuple[_Faults, PrometheusServer], alert: str) -> None:
    made, prometheus = faults
    wanted = alert, FIRES_IN[alert]
    wait_until(
        f"{alert} fires in {FIRES_IN[alert]}",
        lambda: wanted in prometheus.ever_fired() or bool(made.trouble),
        BELIEVED_WITHIN_SECONDS if alert == "BackpackMarketsDisappeared" else FIRED_WITHIN_SECONDS,
    )
    assert wanted in prometheus.ever_fired(), made.trouble


def test_what_fires_says_it_in_whole_sentences(faults: tuple[_Faults, PrometheusServer]) -> None:
    _, prometheus = faults
    shown = prometheus.annotations()
    assert shown
    for alert, annotations in shown.items():
        for text in annotations.values():
            assert "error" not in text.lower(), f"{alert}: {text}"
            assert "no value" not in text, f"{alert}: {text}"
            assert "{{" not in text, f"{alert}: {text}"
