"""Books of the REST API become records, equal in every value, best levels first."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import DecimalDoesNotFit
from backpack_streams.exchange import rest_wire
from backpack_streams.rest_poller.records import is_crossed, snapshot_record

RECEIVED_US = 1_800_000_000_000_000
CODEC = Codec()
fewer = settings(max_examples=25)
ENCODERS = {"BookSnapshot": CODEC.encoder("BookSnapshot", "t")}
prices = st.decimals(Decimal("0.000001"), 10**9, places=6).map(lambda number: format(number, "f"))


def read(record: str, row: dict[str, Any]) -> dict[str, Any]:
    """The record as a consumer gets it."""
    name, values = CODEC.read(ENCODERS[record](row))
    assert name == record
    return values


def assert_heading(
    values: dict[str, Any], symbol: str, event_us: int | None = None, engine_us: int | None = None
) -> None:
    assert (values["symbol"], values["source"], values["received_time"]) == (symbol, "REST", RECEIVED_US)
    assert (values["event_time"], values["engine_time"]) == (event_us, engine_us)


# ---- books


def snapshot(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> rest_wire.DepthSnapshot:
    return rest_wire.DepthSnapshot("X", tuple(bids), tuple(asks), 42, 1_700_000_000_000_000)


levels = st.lists(st.tuples(prices, prices), max_size=8, unique_by=lambda level: Decimal(level[0]))


@fewer
@given(levels, levels, st.integers(1, 10))
def test_a_book_has_its_best_levels_first_and_states_where_it_was_cut(
    bids: list[tuple[str, str]], asks: list[tuple[str, str]], limit: int
) -> None:
    values = read(
        "BookSnapshot", snapshot_record(snapshot(bids, asks), RECEIVED_US, limit, "backpack.market.depth", 3, 77)
    )
    assert_heading(values, "X", engine_us=1_700_000_000_000_000)
    for name, given_levels, descending in (("bids", bids, True), ("asks", asks, False)):
        expected = sorted(((Decimal(price), Decimal(size)) for price, size in given_levels), reverse=descending)
        assert [(level["price"], level["quantity"]) for level in values[name]] == expected
        assert values[f"{name}_complete"] is (len(given_levels) < limit)
    assert (values["delta_topic"], values["delta_partition"], values["delta_offset"]) == (
        "backpack.market.depth",
        3,
        77,
    )
    assert (values["last_update_id"], values["origin"], values["depth_limit"]) == (42, "SEED", limit)


@fewer
@given(levels, levels)
def test_a_book_is_crossed_when_its_best_bid_reaches_its_best_ask(
    bids: list[tuple[str, str]], asks: list[tuple[str, str]]
) -> None:
    crossed = bool(bids and asks) and max(Decimal(price) for price, _ in bids) >= min(
        Decimal(price) for price, _ in asks
    )
    assert is_crossed(snapshot(bids, asks)) is crossed


@pytest.mark.parametrize(
    ("bids", "asks", "crossed"),
    [(["9", "10"], ["10.0", "11"], True), (["9", "10"], ["9.5", "11"], True), (["9"], ["10"], False), (["9"], [], False), ([], [], False)],
)  # fmt: skip
def test_known_books(bids: list[str], asks: list[str], crossed: bool) -> None:
    assert is_crossed(snapshot([(price, "1") for price in bids], [(price, "1") for price in asks])) is crossed


@pytest.mark.parametrize("price", ["1" * 40, "0.0000000000000000001", "abc"])
def test_a_price_that_does_not_fit_is_refused(price: str) -> None:
    with pytest.raises(DecimalDoesNotFit):
        snapshot_record(snapshot([(price, "1")], []), RECEIVED_US, 5, "t", 0, 0)
