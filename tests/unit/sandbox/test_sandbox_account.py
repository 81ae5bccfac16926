"""The synthetic account: deterministic, and its orders, positions, balances and the market agree."""

import base64
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_sandbox.account import SyntheticAccount
from backpack_sandbox.account_keys import INVALID_SIGNATURE, REQUEST_EXPIRED, UNAUTHORIZED, AccountKeys
from backpack_sandbox.streams import PARSE_ERROR
from backpack_sandbox.synthetic import SyntheticVenue
from backpack_streams.errors import UsageError

NOW_US = 1_760_000_000_000_000
SECOND_US = 1_000_000
STREAMS = [f"account.{name}Update" for name in ("order", "position", "rfq", "balance")]
Event = tuple[str, dict[str, Any]]


def lived(seed: int, seconds: int = 120) -> tuple[SyntheticVenue, SyntheticAccount, list[Event]]:
    """An account after a while, and every frame of its streams."""
    venue = SyntheticVenue(7, seed, NOW_US)
    account = SyntheticAccount(venue, seed, NOW_US, SECOND_US)
    events: list[Event] = []
    for second in range(1, seconds + 1):
        now_us = NOW_US + second * SECOND_US
        venue.advance(100, now_us)
        for stream, payload in account.by_the_clock(now_us, lambda: STREAMS):
            frame = json.loads(payload)
            assert frame["stream"] == stream
            events.append((stream, frame["data"]))
    return venue, account, events


def test_the_same_seed_gives_the_same_events_and_every_kind_of_event_occurs() -> None:
    events = lived(1, 300)[2]
    assert events == lived(1, 300)[2]
    assert events != lived(2, 20)[2]
    assert {data["e"] for _, data in events} >= {
        *("orderAccepted", "orderFill", "orderCancelled", "orderExpired", "orderModified", "triggerPlaced"),
        *("triggerFailed", "positionOpened", "positionAdjusted", "positionClosed", "balanceUpdate"),
        *("rfqActive", "rfqCandidate", "rfqAccepted", "rfqFilled", "rfqRefreshed", "rfqCancelled"),
        *("quoteAccepted", "quoteCancelled"),
    }


@settings(max_examples=3)
@given(st.integers(0, 10_000))
def test_times_increase_and_every_fill_is_a_trade_of_the_market(seed: int) -> None:
    venue, _, events = lived(seed)
    times = [data["E"] for _, data in events]
    assert times == sorted(set(times))
    fills = [data for _, data in events if data["e"] == "orderFill"]
    assert fills
    trades = {(symbol, row["id"]): row for symbol in venue.book_symbols() for row in venue.trades(symbol, 0, 400)}
    for data in fills:
        trade = trades[data["s"], data["t"]]
        assert Decimal(trade["price"]) == Decimal(data["L"])
        assert Decimal(data["l"]) <= Decimal(trade["quantity"])


@settings(max_examples=3)
@given(st.integers(0, 10_000))
def test_orders_positions_and_balances_agree(seed: int) -> None:
    _, account, events = lived(seed)
    filled: Counter[str] = Counter()
    for _, data in events:
        if data["e"] == "orderFill":
            filled[data["i"]] += Decimal(data["l"])  # type: ignore[assignment]  # exact sums, despite the type of Counter
            assert Decimal(data["z"]) == filled[data["i"]] <= Decimal(data["q"])
            assert (data["X"] == "Filled") == (Decimal(data["z"]) == Decimal(data["q"]))
    net: dict[str, Decimal] = {}
    for stream, data in events:
        if stream == "account.positionUpdate":
            net[data["s"]] = Decimal(data["q"])
            assert (data["e"] == "positionClosed") == (net[data["s"]] == 0)
    shown = account.shown()
    assert {symbol: quantity for symbol, quantity in net.items() if quantity} == {
        symbol: Decimal(data["q"]) for symbol, data in shown["positions"].items() if symbol in net
    }
    last = {data["a"]: data for stream, data in events if stream == "account.balanceUpdate"}
    for asset, data in last.items():
        assert (data["A"], data["L"]) == (shown["balances"][asset]["A"], shown["balances"][asset]["L"])
        assert Decimal(data["L"]) >= 0
    assert shown["sent"] == [{"stream": stream, "data": data} for stream, data in events]


def test_only_subscribed_streams_are_sent_and_the_stream_of_one_market_has_only_that_market() -> None:
    venue = SyntheticVenue(7, 1, NOW_US)
    account = SyntheticAccount(venue, 1, NOW_US, SECOND_US)
    streams = []
    for second in range(1, 60):
        venue.advance(100, NOW_US + second * SECOND_US)
        frames = account.by_the_clock(NOW_US + second * SECOND_US, lambda: ["account.orderUpdate.SOL_USDC"])
        streams += [(stream, json.loads(payload)["data"]["s"]) for stream, payload in frames]
    assert set(streams) == {("account.orderUpdate.SOL_USDC", "SOL_USDC")}


def test_a_subscription_to_positions_starts_with_the_open_ones_without_an_event() -> None:
    _, account, _ = lived(1, 0)
    [payload] = account.greeting("account.positionUpdate", NOW_US)
    data = json.loads(payload)["data"]
    assert "e" not in data
    assert Decimal(data["q"]) > 0
    assert isinstance(data["i"], int)
    assert account.greeting(f"account.positionUpdate.{data['s']}", NOW_US)
    assert account.greeting("account.positionUpdate.SOL_USDC", NOW_US) == []
    assert account.greeting("account.orderUpdate", NOW_US) == []


# ---- keys

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()
NOW_MS = 1_760_000_000_000


def signed(timestamp_ms: int = NOW_MS, window_ms: int = 5_000, instruction: str = "subscribe") -> list[str]:
    message = f"instruction={instruction}&timestamp={timestamp_ms}&window={window_ms}"
    signature = base64.b64encode(PRIVATE.sign(message.encode())).decode()
    return [PUBLIC, signature, str(timestamp_ms), str(window_ms)]


def test_a_good_signature_of_a_registered_key_is_accepted() -> None:
    assert AccountKeys([PUBLIC]).refusal(signed(), NOW_MS) is None
    key, signature, timestamp, window = signed()
    assert AccountKeys([PUBLIC]).refusal([key, signature, int(timestamp), int(window)], NOW_MS) is None


@pytest.mark.parametrize("late_ms", [-600_000, -5_001, 5_001, 600_000])
def test_a_signature_outside_its_window_has_expired(late_ms: int) -> None:
    assert AccountKeys([PUBLIC]).refusal(signed(), NOW_MS + late_ms) == REQUEST_EXPIRED


@pytest.mark.parametrize("window_ms", [0, -1, 60_001])
def test_a_window_out_of_bounds_is_refused(window_ms: int) -> None:
    assert AccountKeys([PUBLIC]).refusal(signed(window_ms=window_ms), NOW_MS) == REQUEST_EXPIRED


def test_keys_without_permission_unknown_keys_and_wrong_signatures_are_refused() -> None:
    assert AccountKeys([f"{PUBLIC}:no-permission"]).refusal(signed(), NOW_MS) == UNAUTHORIZED
    assert AccountKeys([]).refusal(signed(), NOW_MS) == INVALID_SIGNATURE
    assert AccountKeys([PUBLIC]).refusal(signed(instruction="orderCancel"), NOW_MS) == INVALID_SIGNATURE
    other_time = [*signed()[:2], str(NOW_MS + 1), "5000"]
    assert AccountKeys([PUBLIC]).refusal(other_time, NOW_MS) == INVALID_SIGNATURE


@pytest.mark.parametrize("signature", ["x", [], ["a"] * 3, [PUBLIC, "no base64!", "1", "1"], [PUBLIC, "", "now", "1"]])
def test_an_invalid_signature_is_a_parse_error(signature: Any) -> None:
    assert AccountKeys([PUBLIC]).refusal(signature, NOW_MS) == PARSE_ERROR


@pytest.mark.parametrize("text", ["", "key", PUBLIC[:-4], f"{PUBLIC}:admin"])
def test_an_invalid_key_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(UsageError, match="--account-key"):
        AccountKeys([text])
