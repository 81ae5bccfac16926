"""Which markets a producer carries, and how few of them move when shards are added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.errors import UsageError
from backpack_streams.markets.selection import ListedMarket, Selection, check_streams, shard_of

symbols = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
MANY = [f"S{number}_USDC_PERP" for number in range(4000)]
MARKETS = [
    ListedMarket("BTC_USDC_PERP", "PERP", "Open"),
    ListedMarket("SOL_USDC", "SPOT", "Open"),
    ListedMarket("AAPL.US_USDC_PERP", "PERP", "CancelOnly"),
    ListedMarket("OLD_USDC", "SPOT", "Closed"),
    ListedMarket("OLD_USDC_PERP", "PERP", "Closed"),
    ListedMarket("NEW_THING", "SOMETHING_NEW", "PostOnly"),
    ListedMarket("kSHIB_USDC_PERP", "IPERP", "LimitOnly"),
    ListedMarket("STATE_NEW", "DATED", "A_NEW_STATE"),
]


# ---- shards

# As computed when shards were introduced: a change would move symbols between running producers.
AGREED = [3, 1, 3, 1]


@given(symbols, st.integers(1, 40))
def test_one_more_shard_moves_only_the_symbols_it_takes_over(symbol: str, shards: int) -> None:
    before, after = shard_of(symbol, shards), shard_of(symbol, shards + 1)
    assert 0 <= before < shards
    assert after in (before, shards)


@given(symbols, st.integers(1, 12))
def test_every_symbol_belongs_to_exactly_one_shard(symbol: str, shards: int) -> None:
    market = ListedMarket(symbol, "PERP", "Open")
    taken = [shard for shard in range(shards) if Selection(None, shard, shards).of([market])]
    assert taken == [shard_of(symbol, shards)]


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_one_more_shard_moves_about_its_share(shards: int) -> None:
    moved = sum(1 for symbol in MANY if shard_of(symbol, shards) != shard_of(symbol, shards + 1))
    share = 1 / (shards + 1)
    deviation = (share * (1 - share) / len(MANY)) ** 0.5
    assert abs(moved / len(MANY) - share) < 5 * deviation


@pytest.mark.parametrize("shards", [2, 3, 8])
def test_shards_carry_about_the_same_number(shards: int) -> None:
    carried = [0] * shards
    for symbol in MANY:
        carried[shard_of(symbol, shards)] += 1
    share = 1 / shards
    deviation = (len(MANY) * share * (1 - share)) ** 0.5
    assert all(abs(count - len(MANY) * share) < 5 * deviation for count in carried)


def test_shards_are_the_same_in_every_process_and_version() -> None:
    # Producers of different versions must agree, otherwise a symbol is carried twice or not at all.
    assert [
        shard_of(symbol, 4) for symbol in ("BTC_USDC_PERP", "SOL_USDC", "AAPL.US_USDC_PERP", "kSHIB_USDC_PERP")
    ] == AGREED


# ---- selection


def test_all_markets_that_are_not_closed_are_carried_whatever_their_type_and_state() -> None:
    assert Selection(None).of(MARKETS) == [
        "AAPL.US_USDC_PERP", "BTC_USDC_PERP", "NEW_THING", "SOL_USDC", "STATE_NEW", "kSHIB_USDC_PERP",
    ]  # fmt: skip


def test_only_named_markets_are_carried_while_they_are_open() -> None:
    assert Selection(frozenset({"SOL_USDC", "OLD_USDC", "BTC_USDC_PERP"})).of(MARKETS) == ["BTC_USDC_PERP", "SOL_USDC"]


@given(st.permutations(MARKETS), st.integers(1, 5))
def test_the_order_of_the_list_does_not_matter_and_the_shards_together_carry_all(
    markets: list[ListedMarket], shards: int
) -> None:
    assert Selection(None).of(markets) == Selection(None).of(MARKETS)
    together = [symbol for shard in range(shards) for symbol in Selection(None, shard, shards).of(markets)]
    assert sorted(together) == Selection(None).of(MARKETS)


def test_a_symbol_is_selected_whether_or_not_it_is_listed() -> None:
    assert Selection(None).takes("NOT_LISTED_YET")
    assert not Selection(frozenset({"A"})).takes("B")
    assert [Selection(None, shard, 4).takes("BTC_USDC_PERP") for shard in range(4)] == [False, False, False, True]
    assert Selection(frozenset({"BTC_USDC_PERP"}), 0, 4).names("BTC_USDC_PERP")


def test_listed_symbols_pass_the_check_even_if_closed() -> None:
    Selection(None).check(MARKETS)
    Selection(frozenset({"OLD_USDC", "SOL_USDC"})).check(MARKETS)


def test_an_unlisted_symbol_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"BTC_USD_PERP.*BTC_USDC_PERP"):
        Selection(frozenset({"SOL_USDC", "BTC_USD_PERP"})).check(MARKETS)
    with pytest.raises(UsageError, match="zzzzzz") as refused:
        Selection(frozenset({"zzzzzz"})).check(MARKETS)
    assert "did you mean" not in str(refused.value)


# ---- streams


def test_a_stream_of_another_service_is_refused() -> None:
    check_streams("market-producer", ["depth", "depth.200ms", "kline.1m"], ["depth", "kline"])
    with pytest.raises(UsageError, match=r"market-producer.*'markPrice'.*depth, kline"):
        check_streams("market-producer", ["depth", "markPrice"], ["depth", "kline"])
