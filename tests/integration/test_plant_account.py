"""An account's streams through a sandbox, account-producer and a real Kafka: every value, every outage, and no trace of the key."""

import base64
import json
import re
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from account_key import Key
from embedded_kafka import BlockingKafka
from plant import Plant, Service, running_plant, wait_until
from reading import Read, read_topic

RECORDS = {
    "account.orderUpdate": ("account.order", "OrderUpdate"),
    "account.positionUpdate": ("account.position", "PositionUpdate"),
    "account.rfqUpdate": ("account.rfq", "RfqUpdate"),
    "account.balanceUpdate": ("account.balance", "BalanceUpdate"),
}
COMMON = {"e": "event_type", "E": "event_time", "T": "engine_time"}
NAMES = {
    "OrderUpdate": {
        **COMMON, "s": "symbol", "S": "side", "o": "order_type", "f": "time_in_force", "q": "quantity", "X": "status",
        "i": "order_id", "z": "executed_quantity", "Z": "executed_quote_quantity", "V": "self_trade_prevention",
        "O": "origin", "r": "is_reduce_only", "p": "price", "y": "is_post_only", "c": "client_order_id", "t": "trade_id",
        "l": "fill_quantity", "L": "fill_price", "m": "is_maker", "n": "fee", "N": "fee_asset", "R": "expiry_reason",
        "P": "trigger_price", "B": "trigger_by", "Y": "trigger_quantity",
    },
    "PositionUpdate": {
        **COMMON, "s": "symbol", "b": "break_even_price", "B": "entry_price", "f": "initial_margin_fraction",
        "M": "mark_price", "m": "maintenance_margin_fraction", "q": "net_quantity", "Q": "exposure_quantity",
        "n": "exposure_notional", "i": "position_id", "l": "estimated_liquidation_price", "p": "realized_pnl",
        "P": "unrealized_pnl",
    },
    "RfqUpdate": {
        **COMMON, "s": "symbol", "R": "rfq_id", "u": "quote_id", "C": "client_id", "S": "side", "q": "quantity",
        "Q": "quote_quantity", "p": "price", "w": "submission_time", "W": "expiry_time", "X": "status",
    },
    "BalanceUpdate": {**COMMON, "a": "asset", "A": "available", "L": "locked", "S": "staked"},
}  # fmt: skip
IN_MILLIS = {("RfqUpdate", "w"), ("RfqUpdate", "W")}


def micros(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / datetime.resolution)


def equals(row: dict[str, Any], record: str, data: dict[str, Any]) -> bool:
    """Every sent field is in the record with its value, and every other field of the record is empty."""
    names = NAMES[record]
    for letter, wire in data.items():
        ours = row[names[letter]]
        if isinstance(ours, datetime):
            ours = micros(ours) // 1000 if (record, letter) in IN_MILLIS else micros(ours)
        if isinstance(ours, Decimal):
            wire = Decimal(wire)
        if letter == "i":
            wire = str(wire)
        if ours != wire:
            return False
    filled = {names[letter] for letter in data} | {"source", "received_time", "is_snapshot"}
    empty = all(value is None for name, value in row.items() if name not in filled)
    return empty and row["source"] == "WEBSOCKET" and row.get("is_snapshot", False) is ("e" not in data)


def values(plant: Plant, topic: str, record: str) -> list[Read]:
    return [each for each in read_topic(plant.bootstrap_servers, plant.prefix + topic, record) if each.value]


def nowhere(plant: Plant, folder: Path, key: Key, *topics: str) -> None:
    """The private key is in no log and no topic, in any form."""
    seed = base64.b64decode(key.private)
    forms = [key.private.encode(), key.private.rstrip("=").encode(), seed, seed.hex().encode(), repr(seed).encode()]
    for log in folder.glob("*.log"):
        assert not any(form in log.read_bytes() for form in forms), log
    for topic in topics:
        for each in read_topic(plant.bootstrap_servers, plant.prefix + topic, TOPIC_RECORDS[topic]):
            text = json.dumps(each.value, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))
            assert key.private not in text
            assert seed.hex() not in text


TOPIC_RECORDS = {
    **dict(RECORDS.values()),
    "ops.watermark": "Watermark",
    "ops.gap": "Gap",
    "ops.dead_letter": "DeadLetter",
    "ops.stream_status": "StreamStatus",
}


def log_says(process: Service, *patterns: str) -> bool:
    """Whether one line of the log matches all of these."""
    return any(all(re.search(each, line) for each in patterns) for line in process.log.read_text().splitlines())


def sent(plant: Plant) -> dict[str, list[dict[str, Any]]]:
    """The messages of the exchange on each stream, in order."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in plant.exchange.ask("/account")["sent"]:
        found[each["stream"]].append(each["data"])
    return found


def event_types(plant: Plant) -> set[str]:
    return {data.get("e", "") for datas in sent(plant).values() for data in datas}


def gaps_of(plant: Plant, reason: str) -> dict[str, Any]:
    """The gaps on record for this reason by stream, one for each."""
    found = [each.value for each in values(plant, "ops.gap", "Gap") if each.value["reason"] == reason]
    by_stream = {gap["stream"]: gap for gap in found}
    assert len(by_stream) == len(found)
    return by_stream


EVERY_KIND = {
    *("orderAccepted", "orderFill", "orderCancelled", "triggerPlaced", "triggerFailed", "balanceUpdate"),
    *("positionAdjusted", "rfqActive", "rfqCandidate", "rfqAccepted", "rfqFilled", "rfqRefreshed", "rfqCancelled"),
    *("quoteAccepted", "quoteCancelled"),
}


def start_account(plant: Plant, key: Key, *options: str) -> Service:
    return plant.start("account-producer", "--private-key-file", str(key.file), *options)


def test_every_value_arrives_and_an_outage_is_on_record_with_its_bounds(kafka: BlockingKafka, tmp_path: Path) -> None:
    key = Key(tmp_path)
    with running_plant(kafka.bootstrap_servers, tmp_path, "account.") as plant:
        plant.start_exchange("--account-key", key.public, "--account-act-seconds", "0.02", "--rate", "2000")
        service = start_account(plant, key)
        wait_until("the producer is ready", service.is_ready)
        wait_until("every kind of event was sent", lambda: event_types(plant) >= EVERY_KIND)
        plant.exchange.order("refuse", seconds=1, on="ws")
        plant.exchange.order("cut")
        wait_until("the outages are on record", lambda: service.metric("gaps_total") == 2 * len(RECORDS))
        after = {stream: len(datas) for stream, datas in sent(plant).items()}
        wait_until("events flow again", lambda: all(len(sent(plant)[stream]) > after[stream] + 3 for stream in RECORDS))
        assert service.metric("signatures_total") == 2
        assert service.stop() == 0
        truth = sent(plant)
        starts, gaps = (gaps_of(plant, reason) for reason in ("STREAM_START", "DISCONNECTED"))
        assert starts.keys() == gaps.keys() == RECORDS.keys()
        assert {gap["last_time"] for gap in starts.values()} == {None}, "nobody covered them before"
        for stream, (topic, record) in RECORDS.items():
            rows = values(plant, topic, record)
            gap = gaps[stream]
            assert (gap["reason"], gap["topic"], gap["symbol"]) == ("DISCONNECTED", topic, "")
            since, until = micros(gap["last_time"]), micros(gap["next_time"])
            assert since < until
            datas = iter(truth[stream])
            for each in rows:
                assert each.value
                assert each.key == each.value["asset" if record == "BalanceUpdate" else "symbol"]
                data = next(datas)
                while data["E"] != micros(each.value["event_time"]):  # in transit when the socket was cut
                    assert since <= data["E"] <= until, (data, gap)
                    data = next(datas)
                assert equals(each.value, record, data), (each.value, data)
                assert each.timestamp_ms == data["T"] // 1000
        snapshots = [each for each in values(plant, "account.position", "PositionUpdate") if each.value["is_snapshot"]]
        assert len(snapshots) >= 2, "the open positions are restated after the outage"
        assert not values(plant, "ops.dead_letter", "DeadLetter")
        nowhere(plant, tmp_path, key, *TOPIC_RECORDS)


def test_a_very_short_outage_is_on_record_too(kafka: BlockingKafka, tmp_path: Path) -> None:
    """A socket is lost and the next one subscribed within a tenth of a second: the messages in between are lost."""
    key = Key(tmp_path)
    with running_plant(kafka.bootstrap_servers, tmp_path, "moment.") as plant:
        plant.start_exchange("--account-key", key.public)
        service = start_account(plant, key)
        for cut in range(1, 11):
            wait_until("the producer is ready", service.is_ready)
            plant.exchange.order("cut")
            on_record = (1 + cut) * len(RECORDS)
            wait_until("the outages are on record", lambda: service.metric("gaps_total") == on_record)  # noqa: B023  # called at once
        found = [each.value["reason"] for each in values(plant, "ops.gap", "Gap")]
        assert found == ["STREAM_START"] * len(RECORDS) + ["DISCONNECTED"] * 10 * len(RECORDS)


def test_a_wrong_clock_is_corrected_or_reported_and_the_stream_recovers(kafka: BlockingKafka, tmp_path: Path) -> None:
    key = Key(tmp_path)
    with running_plant(kafka.bootstrap_servers, tmp_path, "skew.") as plant:
        plant.start_exchange("--account-key", key.public, "--fault", "clock-offset:offset=20")
        service = start_account(plant, key)
        wait_until("20 s are made up for", service.is_ready)
        assert log_says(service, r"clock is (19|20)\.\d+ s behind the exchange's", "corrected by")
        assert 18 < service.metric("clock_correction_seconds") < 21
        plant.exchange.order("clock-offset", offset=580)
        plant.exchange.order("cut")
        wait_until(
            "the reason is said",
            lambda: log_says(service, "signature refused", r"clock is (599|600)\.\d+ s behind", "NTP"),
        )
        assert not service.is_ready()
        plant.exchange.clear()
        wait_until("the signature is taken again", service.is_ready)
        wait_until("what was not heard is on record", lambda: service.metric("gaps_total") == 2 * len(RECORDS))
        assert service.stop() == 0
        reasons = [each.value["reason"] for each in values(plant, "ops.gap", "Gap")]
        assert reasons == ["STREAM_START"] * len(RECORDS) + ["SUBSCRIPTION_REFUSED"] * len(RECORDS)
        nowhere(plant, tmp_path, key, *TOPIC_RECORDS)


def refused_twice(service: Service) -> bool:
    return service.metric("signatures_refused_total") >= 2


def test_refused_keys_are_reported_and_tried_again(kafka: BlockingKafka, tmp_path: Path) -> None:
    """One without permission, and one that the exchange does not know."""
    answers = {Key(tmp_path, "a"): "4003 Unauthorized", Key(tmp_path, "b"): "4005 Invalid signature"}
    with running_plant(kafka.bootstrap_servers, tmp_path, "refused.") as plant:
        plant.start_exchange("--account-key", f"{next(iter(answers)).public}:no-permission")
        services = {key: start_account(plant, key) for key in answers}
        for key, service in services.items():
            said = "signature refused", answers[key], "key is registered", re.escape(key.public)
            wait_until("the reason is said", partial(log_says, service, *said))
        for key, service in services.items():
            wait_until("it is tried again", partial(refused_twice, service))
            assert not service.is_ready()
            assert service.stop() == 0
            nowhere(plant, tmp_path, key, "ops.dead_letter", "ops.stream_status")
        states = {each.key: each.value["status"] for each in values(plant, "ops.stream_status", "StreamStatus")}
        assert states == dict.fromkeys(RECORDS, "REJECTED")


def test_streams_of_one_market_deliver_only_that_market(kafka: BlockingKafka, tmp_path: Path) -> None:
    key = Key(tmp_path)
    with running_plant(kafka.bootstrap_servers, tmp_path, "one.") as plant:
        plant.start_exchange("--account-key", key.public, "--account-act-seconds", "0.02", "--rate", "2000")
        service = start_account(plant, key, "--symbols", "SOL_USDC", "--streams", "orderUpdate,balanceUpdate")
        wait_until("the producer is ready", service.is_ready)
        wait_until("some came", lambda: service.metric("frames_published_total") > 10)
        subscribed = plant.exchange.ask("/state")["subscriptions"].keys()
        assert subscribed == {"account.orderUpdate.SOL_USDC", "account.balanceUpdate"}
        assert service.stop() == 0
        assert {each.key for each in values(plant, "account.order", "OrderUpdate")} == {"SOL_USDC"}
        assert {each.key for each in values(plant, "account.balance", "BalanceUpdate")} <= {"SOL", "ETH", "USDC"}
        wrong = start_account(plant, key, "--symbols", "SOL_USDCC")
        assert wrong.popen.wait(60) == 2
        assert log_says(wrong, "SOL_USDCC", "did you mean SOL_USDC")
