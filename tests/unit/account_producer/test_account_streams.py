"""From an account's frames to records: the values, what marks a snapshot, what becomes of the unknown, and whose copy counts."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backpack_streams.account_producer.account_streams import account_streams
from backpack_streams.account_producer.service import STREAM_SPECS
from backpack_streams.exchange.session_actions import CoverageEvent, StreamsActive, StreamsInactive
from backpack_streams.exchange.streams import ACCOUNT_CHANNELS, StreamKind
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.moments import Moment
from backpack_streams.feed.router import FrameRouter
from backpack_streams.publishing.reporter import Reporter
from unit.feed.recorded_queues import SERVICE, Arrived, Queues, encoder

CAPTURED = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "captured-frames.jsonl").read_text().splitlines()
    if '"account.' in line
]
TIMES = {"event_time", "engine_time", "received_time"}


class Account:
    """A router of account streams, and what came out of it."""

    def __init__(self, sockets: int = 1) -> None:
        self.partition_queues = Queues()
        self.errors: list[tuple[int, int, str]] = []
        self.coverage = Coverage()
        self.router = FrameRouter(
            STREAM_SPECS,
            self.coverage,
            self.partition_queues.partition_queue,
            encoder,
            Reporter(SERVICE, self.partition_queues.partition_queue, encoder),
            lambda *error: self.errors.append(error),
        )
        self.router.want(ACCOUNT_CHANNELS)
        self.coverage.resume(dict.fromkeys(ACCOUNT_CHANNELS))
        for socket in range(sockets):
            self.take(StreamsActive(tuple(ACCOUNT_CHANNELS), socket, 0.0), 0.0)

    def take(self, event: CoverageEvent, seconds: float) -> None:
        for gap in self.coverage.take(event, Moment(seconds, round(seconds * 1_000_000))):
            self.router.on_break(gap)

    def send(self, stream: str, data: Any, socket: int = 0, at_us: int = 77) -> None:
        self.router.on_frame(socket, json.dumps({"stream": stream, "data": data}).encode(), at_us)

    def records(self) -> list[Arrived]:
        return [each for each in self.partition_queues.arrived if each.topic.startswith("account.")]


def filled(record: dict[str, Any]) -> dict[str, Any]:
    """What a record holds beside its times, without the fields that are empty."""
    return {name: value for name, value in record.items() if value is not None and name not in TIMES}


def test_the_captured_order_arrives_whole() -> None:
    account = Account()
    account.send(CAPTURED[0]["stream"], CAPTURED[0]["data"])
    [arrived] = account.records()
    assert (arrived.topic, arrived.key, arrived.timestamp_ms) == ("account.order", b"WIF_USDC", 1711899660077)
    assert filled(arrived.record) == {
        "symbol": "WIF_USDC", "source": "WEBSOCKET", "event_type": "orderAccepted", "order_id": "112191056122806272",
        "side": "Bid", "order_type": "LIMIT", "time_in_force": "GTC", "self_trade_prevention": "RejectTaker",
        "status": "New", "quantity": Decimal("10.8"), "price": Decimal("4.6771"),
        "executed_quantity": Decimal(0), "executed_quote_quantity": Decimal(0),
    }  # fmt: skip
    assert [arrived.record[name] for name in sorted(TIMES)] == [1711899660077996, 1711899660078481, 77]


def test_the_captured_position_arrives_whole() -> None:
    account = Account()
    account.send(CAPTURED[1]["stream"], CAPTURED[1]["data"])
    [arrived] = account.records()
    assert (arrived.topic, arrived.key) == ("account.position", b"ETH_USDC_PERP")
    assert filled(arrived.record) == {
        "symbol": "ETH_USDC_PERP", "source": "WEBSOCKET", "event_type": "positionOpened", "is_snapshot": False,
        "position_id": "5411399049", "net_quantity": Decimal("0.001"), "exposure_quantity": Decimal("0.001"),
        "exposure_notional": Decimal("4.23588650933"), "entry_price": Decimal("4236.36"),
        "break_even_price": Decimal("4238.479"), "mark_price": Decimal("4235.88650933"),
        "estimated_liquidation_price": Decimal(0), "initial_margin_fraction": Decimal("0.02"),
        "maintenance_margin_fraction": Decimal("0.0125"), "realized_pnl": Decimal(0), "unrealized_pnl": Decimal("-0.000473"),
    }  # fmt: skip


def test_an_open_position_without_an_event_is_a_snapshot() -> None:
    account = Account()
    for event in ({}, {"e": None}, {"e": "positionAdjusted"}):
        account.send("account.positionUpdate", {"E": 5, "s": "X_PERP", "q": "1", **event})
    assert [each.record["is_snapshot"] for each in account.records()] == [True, True, False]


def test_the_times_of_a_request_for_quote_are_milliseconds_on_the_wire() -> None:
    account = Account()
    data = {"e": "rfqActive", "E": 9, "R": 113392053149171712, "s": "SOL_USDC_RFQ", "S": "Bid", "q": "10",
            "w": 1739907629000, "W": "1739907689987", "X": "New", "T": 8, "C": 7}  # fmt: skip
    account.send("account.rfqUpdate", data)
    [arrived] = account.records()
    record = arrived.record
    assert record["submission_time"] == int(datetime(2025, 2, 18, 19, 40, 29, tzinfo=UTC).timestamp()) * 1_000_000
    assert record["expiry_time"] == 1739907689987000
    assert (record["rfq_id"], record["client_id"], record["quote_quantity"]) == (113392053149171712, "7", None)


def test_a_balance_is_keyed_by_its_asset() -> None:
    account = Account()
    account.send(
        "account.balanceUpdate", {"e": "balanceUpdate", "E": 5, "T": 4, "a": "SOL", "A": "1.5", "L": 2, "S": "0"}
    )
    [arrived] = account.records()
    assert (arrived.topic, arrived.key) == ("account.balance", b"SOL")
    assert filled(arrived.record) == {
        "asset": "SOL", "source": "WEBSOCKET", "event_type": "balanceUpdate",
        "available": Decimal("1.5"), "locked": Decimal(2), "staked": Decimal(0),
    }  # fmt: skip


@pytest.mark.parametrize("stream", ACCOUNT_CHANNELS)
def test_an_event_that_nobody_knows_is_kept_whole(stream: str) -> None:
    account = Account()
    frame = (
        f'{{"stream":"{stream}","data":{{"e":"moved","E":5,"zz":{{"a":[1.10,null]}},"w2":0.1000000000000000055511}}}}'
    )
    account.router.on_frame(0, frame.encode(), 77_000)
    [arrived] = account.records()
    assert arrived.record["event_type"] == "moved"
    assert arrived.record["extra_fields"] == '{"zz":{"a":[1.10,null]},"w2":0.1000000000000000055511}'
    assert arrived.key == b""
    assert account.partition_queues.dead_letters == []


def test_a_message_without_any_time_is_stamped_with_its_receipt() -> None:
    account = Account()
    account.send("account.orderUpdate", {"s": "X"}, at_us=1_760_000_000_123_456)
    [arrived] = account.records()
    assert arrived.timestamp_ms == 1_760_000_000_123
    assert (arrived.record["event_time"], arrived.record["engine_time"]) == (None, None)


@pytest.mark.parametrize("data", [[], "x", {"E": "soon"}, {"s": "X", "q": "many"}, {"s": "X", "q": "1" * 40}])
def test_what_does_not_fit_is_a_dead_letter_with_the_whole_frame(data: Any) -> None:
    account = Account()
    account.send("account.orderUpdate", data)
    assert account.records() == []
    [letter] = account.partition_queues.dead_letters
    assert json.loads(letter["payload"])["data"] == data


def test_two_sockets_bring_each_event_once_and_none_is_taken_for_an_old_one() -> None:
    account = Account(sockets=2)
    events = [{"e": "orderFill", "E": time, "T": time, "s": "X", "t": trade} for trade, time in enumerate((5, 5, 4, 9))]
    for socket in (0, 1):
        for data in events:
            account.send("account.orderUpdate", data, socket)
    assert [each.record["trade_id"] for each in account.records()] == [0, 1, 2, 3]


def test_a_time_in_which_nobody_listened_is_on_record_without_a_message() -> None:
    account = Account()
    account.send("account.orderUpdate", {"e": "orderFill", "E": 5, "s": "X"})
    account.take(StreamsInactive(("account.orderUpdate",), 0, 5.0, "REFUSED"), 6.0)
    account.take(StreamsActive(("account.orderUpdate",), 1, 9.0), 9.0)
    [gap] = account.partition_queues.gaps
    assert (gap["reason"], gap["stream"]) == ("SUBSCRIPTION_REFUSED", "account.orderUpdate")
    assert (gap["last_time"], gap["next_time"]) == (5_000_000, 9_000_000)


def test_streams_of_the_whole_account_or_of_single_markets() -> None:
    kinds = [StreamKind("account.orderUpdate"), StreamKind("account.balanceUpdate")]
    assert list(account_streams(kinds, None)) == ["account.orderUpdate", "account.balanceUpdate"]
    assert list(account_streams(kinds, ["A", "B.C"])) == [
        "account.orderUpdate.A",
        "account.orderUpdate.B.C",
        "account.balanceUpdate",
    ]
