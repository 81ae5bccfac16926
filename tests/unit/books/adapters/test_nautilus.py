"""Against NautilusTrader's own order book: it holds the same levels as ours after every update."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from recorded_markets import Follower, recorded_records, trade

from backpack_streams.books.adapters.nautilus import Nautilus, book_deltas, trade_ticks
from backpack_streams.books.market_book import Status
from backpack_streams.books.record_stream import Gap, StreamedRecord
from backpack_streams.books.stream import BookUpdate
from backpack_streams.errors import BookError

pytest.importorskip("nautilus_trader", reason="NautilusTrader is not installed")

from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.enums import AggressorSide, BookAction, BookType, RecordFlag

SYMBOL = "LINK_USDC_PERP"
NOW = 1_790_134_357_267_289_000


def levels(book: Any) -> tuple[list[tuple[Decimal, Decimal]], ...]:
    return tuple(
        [
            (level.price.as_decimal(), Decimal(sum(order.size.as_decimal() for order in level.orders())))
            for level in side
        ]
        for side in (book.bids(), book.asks())
    )


async def test_the_recorded_flow_gives_the_same_book_and_a_break_empties_it() -> None:
    follower, nautilus = Follower(SYMBOL), Nautilus(clock_ns=lambda: NOW)
    theirs = OrderBook(nautilus.instrument_id(SYMBOL), BookType.L2_MBP)
    compared = broken = 0
    last_flags = int(RecordFlag.F_LAST)

    async def updates() -> AsyncIterator[BookUpdate]:
        for place, record in enumerate(recorded_records(SYMBOL)):
            yield follower.take(record)
            if place == 150:
                yield follower.break_chain()
                snapshot = follower.market.book.to_record()
                value = record.value | snapshot | {"last_update_id": follower.market.newest_id + 1}
                yield follower.take(StreamedRecord("market.book_snapshot", "BookSnapshot", SYMBOL, value, 0, 0))
                return

    async for deltas in book_deltas(updates(), nautilus):
        theirs.apply_deltas(deltas)
        assert [delta.flags & last_flags for delta in deltas.deltas[:-1]] == [0] * (len(deltas.deltas) - 1)
        assert deltas.deltas[-1].flags & last_flags
        if follower.market.status is Status.LIVE:
            compared += 1
            assert levels(theirs) == follower.market.book.depth()
            assert deltas.sequence == follower.market.last_update_id
            assert (deltas.ts_event, deltas.ts_init) == (follower.market.engine_time * 1000, NOW)
        else:
            broken += 1
            assert [delta.action for delta in deltas.deltas] == [BookAction.CLEAR]
            assert levels(theirs) == ([], [])
    assert compared > 50
    assert broken == 1


def test_no_deltas_are_given_before_a_snapshot_or_without_a_change() -> None:
    follower, nautilus = Follower(SYMBOL), Nautilus()
    records = list(recorded_records(SYMBOL))
    assert records[0].name == "DepthUpdate"
    assert nautilus.deltas(follower.take(records[0])) is None
    snapshot = next(record for record in records if record.name == "BookSnapshot")
    update = follower.take(snapshot)
    told = nautilus.deltas(update).deltas
    assert told[0].action == BookAction.CLEAR
    assert all(delta.flags & int(RecordFlag.F_SNAPSHOT) for delta in told)
    assert {delta.action for delta in told[1:]} == {BookAction.ADD}
    assert nautilus.deltas(update) is None


def test_values_are_padded_to_the_instrument_and_never_rounded() -> None:
    nautilus = Nautilus(precisions={SYMBOL: (4, 5)})
    tick = nautilus.trade(trade(SYMBOL, 7, 1_000_000))
    assert (str(tick.price), str(tick.size)) == ("86700.1000", "0.00123")
    assert (tick.price.precision, tick.size.precision) == (4, 5)
    with pytest.raises(BookError, match=r"0\.0012345 has more than the 5 decimal places"):
        nautilus.trade(trade(SYMBOL, 7, 1, quantity=Decimal("0.0012345")))
    with pytest.raises(BookError, match=r"cannot hold 0\.000000000000000001 exactly"):
        Nautilus().trade(trade(SYMBOL, 7, 1, price=Decimal("0.000000000000000001")))
    whole = Nautilus(precisions={SYMBOL: (2, 0)}).trade(trade(SYMBOL, 7, 1, price=Decimal(5), quantity=Decimal(3)))
    assert (str(whole.price), str(whole.size)) == ("5.00", "3")


async def test_trades_become_ticks_and_gaps_are_skipped() -> None:
    async def records() -> AsyncIterator[StreamedRecord | Gap]:
        yield trade(SYMBOL, 7, 1_000_000)
        yield Gap(SYMBOL, 8, 8)
        yield next(recorded_records(SYMBOL))
        yield trade(SYMBOL, 9, 2_000_000, is_buyer_maker=False, engine_time=None)

    first, second = [tick async for tick in trade_ticks(records())]
    assert str(first.instrument_id) == "LINK_USDC_PERP.BACKPACK"
    assert (first.price.as_decimal(), first.size.as_decimal()) == (Decimal("86700.1"), Decimal("0.00123"))
    assert (first.aggressor_side, second.aggressor_side) == (AggressorSide.SELLER, AggressorSide.BUYER)
    assert (str(first.trade_id), first.ts_event, first.ts_init) == ("7", 1_000_000_000, 1_060_000_000)
    assert second.ts_event == 2_000_005_000
    with pytest.raises(BookError, match="no trade"):
        Nautilus().trade(next(recorded_records(SYMBOL)))
