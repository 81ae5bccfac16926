"""Every catalogue of the exchange in Kafka: equal to its answers, each change once, and nothing twice after a restart."""

import json
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from backpack_streams.rest_poller.catalogue import Endpoint, Publish, endpoints
from backpack_streams.rest_poller.changes import told_apart_by
from backpack_streams.rest_poller.settings import RestPollerSettings
from embedded_kafka import BlockingKafka
from plant import Plant, running_plant, wait_until
from reading import Read, read_topic

TABLE = endpoints(RestPollerSettings())
COMPACTED = {each.topic: each for each in TABLE if each.publish is Publish.CHANGES}
HISTORIES = {each.topic: each for each in TABLE if each.publish is Publish.ONCE_SETTLED}
QUICKLY = (
    *("--catalogue-refresh", "1", "--lending-refresh", "1", "--status-refresh", "1", "--asset-refresh", "1"),
    *("--market-refresh", "1", "--rate-limit-share", "1", "--funding-rate-page", "250", "--history-refresh", "30"),
)
# The sandbox accepts all requests of a test within a minute; rate limiting is tested elsewhere.
PATIENT = ("--requests-per-minute", "100000", "--historical-requests-per-minute", "100000")


def answered(plant: Plant, each: Endpoint) -> dict[str, str]:
    """The exchange's current answer: comparable rows, by key."""
    query = "&".join(f"{name}={value}" for name, value in each.parameters)
    with urllib.request.urlopen(f"{plant.exchange.rest_url}{each.path}?{query}", timeout=10) as answer:
        body = json.loads(answer.read())
    rows = [body] if each.shape.is_one_object else body if each.shape.array_in is None else body[each.shape.array_in]
    return {wire_key(each.topic, row): told_apart_by(json.dumps(row), each.moving) for row in rows}


def wire_key(topic: str, row: dict[str, Any]) -> str:
    if topic == "reference.wallet":
        return f"{row['blockchain']}/{row['address']}"
    if topic == "reference.system_status":
        return "exchange"
    return str(
        next(
            row[name]
            for name in ("symbol", "slug", "asset", "name", "id")
            if name in row and (name != "symbol" or topic != "reference.vault")
        )
    )


def records(plant: Plant, topic: str, record: str) -> list[Read]:
    return read_topic(plant.bootstrap_servers, plant.prefix + topic, record)


def held(found: list[Read], each: Endpoint) -> dict[str, str]:
    """The contents of a compacted topic; asserts that no row is repeated."""
    state: dict[str, str] = {}
    for read in found:
        assert read.key is not None
        row = None if read.value is None else told_apart_by(read.value["raw"], each.moving)
        assert state.get(read.key) != row, f"{each.topic} says {read.key} twice"
        if row is None:
            del state[read.key]
        else:
            state[read.key] = row
    return state


def moments(found: list[Read], each: Endpoint) -> Counter[tuple[Any, ...]]:
    """How often each settled row of a history was published."""
    rows = [read.value for read in found if read.value is not None and read.value.get("is_settled", True)]
    return Counter((each.key(row), row.get("interval"), row[each.time_field]) for row in rows)


def test_every_catalogue_in_kafka_equals_the_exchanges_answer(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "catalogues.") as plant:
        plant.start_exchange("--symbols", "4", "--rate", "1", "--catalogue-round-seconds", "5", *PATIENT)
        poller = plant.start_ready("rest-poller", *QUICKLY)
        for each in COMPACTED.values():
            wait_until(
                f"{each.topic} is what the exchange answers",
                lambda each=each: answered(plant, each) == held(records(plant, each.topic, each.record), each),  # type: ignore[misc]  # a loop's own variable
            )
        rates = HISTORIES["perp.funding_rate"]
        wait_until(
            "the rates of three perpetuals are there, back to the first",
            lambda: len(moments(records(plant, rates.topic, rates.record), rates)) >= 3 * 30 * 24,
        )
        histories = [each for each in HISTORIES.values() if each is not rates]
        for each in histories:
            wait_until(
                f"{each.topic} has every interval",
                lambda each=each: len({i for _, i, _ in moments(records(plant, each.topic, each.record), each)}) == 4,  # type: ignore[misc]  # a loop's own variable
            )
        assert poller.stop() == 0

        again = plant.start_ready("rest-poller", *QUICKLY)
        wait_until("all was asked again", lambda: again.metric("rest_polls_total") > 120)
        assert again.stop() == 0

        for each in COMPACTED.values():
            held(records(plant, each.topic, each.record), each)
        for each in HISTORIES.values():
            counted = moments(records(plant, each.topic, each.record), each)
            assert set(counted.values()) == {1}, each.topic
        changed = Counter(read.key for read in records(plant, "reference.collateral", "Collateral"))
        ordered = [
            read.value["interval_end_time"]
            for read in records(plant, rates.topic, rates.record)
            if read.value and read.value["is_settled"] and read.key == "BTC_USDC_PERP"
        ]
        tickers = {read.key for read in records(plant, "market.ticker_1w", "Ticker")}
        letters = read_topic(plant.bootstrap_servers, "catalogues.ops.dead_letter", "DeadLetter")
    assert not letters
    assert max(changed.values()) > 1, "nothing changed while the test looked"
    assert ordered == sorted(ordered)
    assert len(ordered) >= 30 * 24
    assert {"BTC_USDC_PERP", "SOL_USDC"} <= tickers
