"""What reaches the bus: a row counts as published only once the bus accepts it, and each shard publishes only its own keys."""

from decimal import Decimal
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.markets.selection import shard_of
from unit.rest_poller.polled_answers import HOUR_US, NOW_US, TABLE, Bus, answer, endpoint_of

TAGS = endpoint_of("reference.prediction_tag")
FUNDING = endpoint_of("perp.funding_rate")
LENDING = endpoint_of("history.borrow_lend_market")
SYMBOLS = ("BTC", "SOL", "ETH", "kSHIB", "AAPL.US", "USDC")


def tags(*slugs: str, **titles: str) -> list[dict[str, str]]:
    return [{"slug": slug, "title": titles.get(slug, "same")} for slug in slugs]


def test_a_row_counts_as_published_only_once_the_bus_accepts_it() -> None:
    bus = Bus()
    publication = bus.publication()
    bus.takes = lambda key: key != "b"
    for expected in (["a"], [], []):
        publication.publish(TAGS, answer(TAGS, tags("a", "b")))
        assert bus.keys() == expected
    bus.takes = lambda _: True
    for expected in (["b"], []):
        publication.publish(TAGS, answer(TAGS, tags("a", "b")))
        assert bus.keys() == expected


def test_a_deletion_counts_as_published_only_once_the_bus_accepts_it() -> None:
    bus = Bus()
    publication = bus.publication()
    publication.publish(TAGS, answer(TAGS, tags("a", "b")))
    bus.keys()
    bus.takes = lambda _: False
    publication.publish(TAGS, answer(TAGS, tags("a")))
    bus.takes = lambda _: True
    for expected in (["-b"], []):
        publication.publish(TAGS, answer(TAGS, tags("a")))
        assert bus.keys() == expected


@given(st.lists(st.frozensets(st.sampled_from(SYMBOLS), min_size=1), max_size=6), st.integers(1, 4))
def test_a_shard_publishes_and_deletes_only_its_own_keys(listed: list[frozenset[str]], shards: int) -> None:
    endpoint = endpoint_of("reference.security")
    buses = [Bus() for _ in range(shards)]
    publications = [bus.publication(partial(belongs_to, shard, shards), (endpoint,)) for shard, bus in enumerate(buses)]
    topic: set[str] = set()
    for symbols in listed:
        for shard, (bus, publication) in enumerate(zip(buses, publications, strict=True)):
            ours, held = ({key for key in keys if belongs_to(shard, shards, key)} for keys in (symbols, topic))
            publication.publish(endpoint, answer(endpoint, [{"asset": symbol} for symbol in sorted(symbols)]))
            deleted = {f"-{key}" for key in held - ours}
            sent = bus.keys()
            assert sorted(sent) == sorted((ours - held) | deleted)
            topic = (topic | ours) - {key.removeprefix("-") for key in deleted}


def test_the_last_key_of_a_shard_is_deleted_once_only_keys_of_others_are_listed() -> None:
    bus = Bus()
    publication = bus.publication(lambda key: key == "a")
    for listed, expected in ((("a", "theirs"), ["a"]), ((), []), (("theirs",), ["-a"]), (("theirs",), [])):
        publication.publish(TAGS, answer(TAGS, tags(*listed)))
        assert bus.keys() == expected


def belongs_to(shard: int, shards: int, key: str) -> bool:
    return shard_of(key, shards) == shard


def test_keys_of_other_shards_in_the_topic_are_not_touched() -> None:
    bus = Bus()
    publication = bus.publication(lambda key: key in ("a", "b"))
    for key in ("a", "b", "theirs"):
        publication.recalls(TAGS, key, {"raw": f'{{"slug":"{key}","title":"same"}}', "received_time": 0}, 0)
    publication.publish(TAGS, answer(TAGS, tags("a", "new")))
    assert bus.keys() == ["-b"]


def test_a_restart_publishes_only_what_changed_meanwhile() -> None:
    first = Bus()
    first.publication().publish(TAGS, answer(TAGS, tags("a", "b", "c")))
    second = Bus()
    publication = second.publication()
    for sent in first.sent:
        publication.recalls(TAGS, sent.key, sent.record, sent.timestamp_ms)
    publication.publish(TAGS, answer(TAGS, tags("a", "b", "d", b="new")))
    assert second.keys() == ["b", "d", "-c"]


def test_a_constantly_moving_field_is_no_change() -> None:
    lending = endpoint_of("reference.borrow_lend_market")
    bus = Bus()
    publication = bus.publication()
    row = {"symbol": "SOL", "state": "Open", "utilization": "0.5", "timestamp": "2027-01-15T08:00:00"}
    for change, expected in (
        ({}, ["SOL"]),
        ({"timestamp": "2027-01-15T08:00:09"}, []),
        ({"utilization": "0.6"}, ["SOL"]),
    ):
        publication.publish(lending, answer(lending, [row | change]))
        assert bus.keys() == expected


def test_an_invalid_row_is_a_dead_letter_once_and_deletes_nothing() -> None:
    bus = Bus()
    publication = bus.publication()
    publication.publish(TAGS, answer(TAGS, tags("a", "b")))
    assert bus.keys() == ["a", "b"]
    for _ in range(3):
        publication.publish(TAGS, answer(TAGS, [*tags("a"), {"title": "no slug"}]))
    assert bus.keys() == []
    assert bus.letters == [(b'{"title": "no slug"}', "UNPARSABLE")]
    vaults = endpoint_of("reference.vault")
    for _ in range(3):
        publication.publish(vaults, answer(vaults, [{"id": 1, "tokenStepSize": "0." + "1" * 19}]))
    assert [reason for _, reason in bus.letters] == ["UNPARSABLE", "VALUE_DOES_NOT_FIT"]
    publication.publish(vaults, answer(vaults, [{"id": 1, "tokenStepSize": "0.1"}]))
    assert bus.keys() == ["1"]


def test_an_older_answer_is_no_news() -> None:
    bus = Bus()
    publication = bus.publication()
    publication.publish(TAGS, answer(TAGS, tags("a", a="new"), age_seconds=10))
    publication.publish(TAGS, answer(TAGS, tags("a", "b", a="old"), age_seconds=11))
    assert bus.keys() == ["a"]


# ---- histories


def funding(*hours_back: int) -> list[dict[str, Any]]:
    """Rates of intervals that ended this many hours before `NOW_US`, which is 8 o'clock; -1 is the one in progress."""
    moments = [(15 + (8 - back) // 24, (8 - back) % 24) for back in hours_back]
    return [
        {"symbol": "SOL", "intervalEndTimestamp": f"2027-01-{day:02}T{hour:02}:00:00", "fundingRate": "0.000012345"}
        for day, hour in moments
    ]


def ends(bus: Bus) -> list[tuple[int, bool]]:
    """Hours back of the intervals sent since the last call, and whether they are settled."""
    sent = [each.record for each in bus.sent if each.record]
    bus.sent.clear()
    return [((NOW_US - record["interval_end_time"]) // HOUR_US, record["is_settled"]) for record in sent]


def test_settled_rates_are_published_once_oldest_first_and_the_rate_in_progress_each_time() -> None:
    bus = Bus()
    publication = bus.publication()
    publication.publish(FUNDING, answer(FUNDING, funding(-1, 0, 1, 2)))
    assert ends(bus) == [(2, True), (1, True), (0, True), (-1, False)]
    publication.publish(FUNDING, answer(FUNDING, funding(-1, 0, 1, 2)))
    assert ends(bus) == [(-1, False)]
    publication.publish(FUNDING, answer(FUNDING, funding(-2, -1, 0, 1), received_us=NOW_US + HOUR_US))
    assert ends(bus) == [(-1, True), (-2, False)]


def test_a_full_bus_stops_a_history_which_resumes_there() -> None:
    bus = Bus()
    publication = bus.publication()
    room = iter([True, False, True, True])
    bus.takes = lambda _: next(room)
    publication.publish(FUNDING, answer(FUNDING, funding(-1, 0, 1, 2)))
    assert ends(bus) == [(2, True)]
    bus.takes = lambda _: True
    publication.publish(FUNDING, answer(FUNDING, funding(-1, 0, 1, 2)))
    assert ends(bus) == [(1, True), (0, True), (-1, False)]


def test_a_restart_resumes_where_the_topic_ends() -> None:
    first = Bus()
    first.publication().publish(FUNDING, answer(FUNDING, funding(-1, 1, 2)))
    second = Bus()
    publication = second.publication()
    found = [publication.recalls(FUNDING, sent.key, sent.record, sent.timestamp_ms) for sent in first.sent]
    assert found == ["SOL", "SOL", ""]  # the rate in progress does not count
    publication.publish(FUNDING, answer(FUNDING, funding(-1, 0, 1, 2, 3)))
    assert ends(second) == [(0, True), (-1, False)]


def test_rows_without_asset_or_interval_get_them_from_the_request() -> None:
    bus = Bus()
    publication = bus.publication()
    rows = [{"utilization": "0.25", "timestamp": f"2027-01-15T0{hour}:00:00"} for hour in (5, 6, 7)]
    for subject in ("SOL", "BTC", "SOL"):
        publication.publish(LENDING, answer(LENDING, rows, subject))
    sent = [(each.key, each.record["interval"], each.timestamp_ms) for each in bus.sent if each.record]
    at = NOW_US // 1000 - 3 * 3_600_000
    expected = [(symbol, "1d", at + hour * 3_600_000) for symbol in ("SOL", "BTC") for hour in (0, 1)]
    assert sent == expected  # the newest row may still change
    assert bus.sent[0].record is not None
    assert bus.sent[0].record["utilization"] == Decimal("0.25")


def test_intervals_of_one_asset_are_separate_histories() -> None:
    bus = Bus()
    publication = bus.publication()
    rows = [{"utilization": "0.25", "timestamp": f"2027-01-15T0{hour}:00:00"} for hour in (5, 6)]
    publication.publish(LENDING, answer(LENDING, rows))
    [weekly] = [each for each in TABLE if each.topic == LENDING.topic and dict(each.given)["interval"] == "1w"]
    publication.publish(weekly, answer(weekly, rows))
    assert [each.record["interval"] for each in bus.sent if each.record] == ["1d", "1w"]
