"""What the builder publishes about audits: a record of each, and the id from which a wrong book is wrong for all readers."""

from typing import Any

from backpack_streams.audits.auditing import AHEAD_SECONDS
from backpack_streams.book_builder.audits import BookAudits
from backpack_streams.books.market_book import BaseSnapshot, MarketBook, Status
from backpack_streams.books.units import UNITS_PER_ONE
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import bytes_from_unscaled
from backpack_streams.bus.depth_reader import DepthNumbers, DepthReader

SYMBOL = "SOL_USDC"
TOPIC = "backpack.ops.book_audit"
CODEC = Codec()


class Keeper:
    """Keeps one book as book-builder does, together with its audits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.audits = BookAudits(DepthReader(CODEC), clock=lambda: self.now, wall_us=lambda: 77)
        self.market = MarketBook(SYMBOL)

    def load(
        self, last_id: int, bid: int = 10, origin: str = "SEED", complete: bool = True, received_us: int = 77
    ) -> None:
        levels = [(bid * UNITS_PER_ONE, UNITS_PER_ONE)], [(20 * UNITS_PER_ONE, UNITS_PER_ONE)]
        base = BaseSnapshot(last_id, last_id, received_us)
        outcome = self.market.on_snapshot(last_id, last_id, *levels, bids_complete=complete, base=base)
        rows = [
            [{"price": bytes_from_unscaled(p), "quantity": bytes_from_unscaled(q)} for p, q in side] for side in levels
        ]
        record = {"last_update_id": last_id, "engine_time": last_id, "bids": rows[0], "asks": rows[1]}
        record |= {"bids_complete": complete, "asks_complete": True, "origin": origin, "received_time": received_us}
        self.audits.on_snapshot(self.market, record, outcome)

    def update(self, last_id: int, bid: int | None = None) -> None:
        bids = [] if bid is None else [(bid * UNITS_PER_ONE, UNITS_PER_ONE)]
        update: DepthNumbers = (last_id, last_id, last_id, bids, [])
        self.audits.on_update(self.market, update, self.market.on_update(*update))

    def findings(self) -> list[tuple[int | None, dict[str, Any]]]:
        """The findings, each as its record is read back from Kafka."""
        encode = CODEC.encoder("BookAudit", TOPIC)
        return [(each.wrong_id, CODEC.read(encode(each.row))[1]) for each in self.audits.take_findings()]


def test_a_match_is_recorded() -> None:
    keeper = Keeper()
    keeper.load(5)
    keeper.update(6)
    keeper.load(5)
    [(wrong_id, row)] = keeper.findings()
    assert wrong_id is None
    assert (row["symbol"], row["result"], row["reason"], row["audited_time"]) == (SYMBOL, "MATCH", "", 77)
    assert (row["update_id"], row["snapshot_update_id"], row["book_update_id"]) == (5, 5, 6)
    assert (row["compared_levels"], row["different_levels"], row["our_bids"]) == (2, 0, [])
    assert keeper.findings() == []
    assert keeper.audits.counts == {"MATCH": 1, "MISMATCH": 0, "NOT_COMPARABLE": 0, "WANTED": 0}


def test_a_wrong_book_is_not_live_and_both_books_are_recorded() -> None:
    keeper = Keeper()
    keeper.load(5)
    keeper.update(6, bid=12)
    keeper.update(7)
    keeper.load(6, complete=False)
    [(wrong_id, row)] = keeper.findings()
    assert (wrong_id, row["result"], row["update_id"]) == (7, "MISMATCH", 6)
    assert keeper.market.status is Status.STALE
    assert [(each["side"], int(each["price"])) for each in row["differences"]] == [("bid", 12)]
    assert [int(each["price"]) for each in row["our_bids"]] == [12, 10]
    assert [int(each["price"]) for each in row["exchange_bids"]] == [10]
    assert int(row["bids_compared_to"]) == 10
    assert row["asks_compared_to"] is None
    keeper.load(8)
    assert keeper.market.status is Status.LIVE
    keeper.load(8)
    [(_, healed)] = keeper.findings()
    assert healed["result"] == "MATCH"


def test_a_book_that_stays_ahead_of_the_exchange_is_wrong_for_all_readers_until_a_later_snapshot() -> None:
    keeper = Keeper()
    keeper.load(5, received_us=70)
    keeper.update(6, bid=12)
    keeper.load(5, received_us=71)
    assert [row["result"] for _, row in keeper.findings()] == ["MATCH"]
    keeper.now = AHEAD_SECONDS
    keeper.audits.on_tick()
    [(_, wanted)] = keeper.findings()
    assert (wanted["result"], wanted["book_update_id"]) == ("WANTED", 6)
    keeper.now += 0.5
    keeper.load(5, received_us=76)
    [finding] = keeper.audits.take_findings()
    assert (finding.wrong_id, finding.next_id, finding.seen_us) == (6, 6, 76)
    row = finding.row
    assert (row["result"], row["update_id"], row["snapshot_update_id"], row["book_update_id"]) == (
        "MISMATCH",
        None,
        5,
        6,
    )
    assert [len(row[side]) for side in ("our_bids", "exchange_bids", "differences")] == [2, 1, 1]
    assert keeper.market.status is Status.STALE
    keeper.load(5, received_us=75)
    assert keeper.market.status is Status.STALE
    keeper.load(5, received_us=77)
    assert (keeper.market.status, keeper.market.last_update_id) == (Status.LIVE, 5)
    keeper.load(5, received_us=77)
    assert [row["result"] for _, row in keeper.findings()] == ["MATCH"]


def test_a_wrong_update_is_found_when_the_book_reaches_a_snapshot_ahead() -> None:
    keeper = Keeper()
    keeper.load(5)
    keeper.load(7)
    keeper.update(6, bid=12)
    assert keeper.findings() == []
    keeper.update(7)
    [(wrong_id, row)] = keeper.findings()
    assert (wrong_id, row["result"]) == (7, "MISMATCH")


def test_a_checkpoint_does_not_audit_a_book() -> None:
    keeper = Keeper()
    keeper.load(5, origin="CHECKPOINT")
    keeper.update(6, bid=12)
    keeper.load(6, origin="CHECKPOINT")
    assert keeper.findings() == []
    keeper.load(6)
    assert [row["result"] for _, row in keeper.findings()] == ["MISMATCH"]


def test_a_snapshot_that_the_book_never_reaches_times_out() -> None:
    keeper = Keeper()
    keeper.load(5)
    keeper.load(9)
    keeper.now = 100.0
    keeper.audits.on_tick()
    assert [row["result"] for _, row in keeper.findings()] == ["NOT_COMPARABLE"]


def test_suspicions_request_an_audit() -> None:
    keeper = Keeper()
    keeper.load(5)
    assert keeper.audits.follows(SYMBOL.encode())
    keeper.audits.on_trade(SYMBOL, 21 * UNITS_PER_ONE)
    keeper.audits.on_trade("OTHER", 21 * UNITS_PER_ONE)
    keeper.now = 10.0
    keeper.audits.on_tick()
    [(_, row)] = keeper.findings()
    assert (row["result"], row["book_update_id"], row["update_id"]) == ("WANTED", 5, None)
    keeper.now = 100.0
    keeper.update(6, bid=30)
    [(_, crossed)] = keeper.findings()
    assert (crossed["result"], crossed["reason"]) == ("WANTED", "crossed after update 6")


def test_a_snapshot_is_requested_until_a_book_with_missing_updates_is_live() -> None:
    """Updates that vanished before this builder read them: no producer knows of them, so no gap record requests a snapshot."""
    keeper = Keeper()
    keeper.load(5)
    keeper.audits.on_outcome(keeper.market, keeper.market.on_outage_over("lost"))
    asked = []
    for second in range(1, 30):
        keeper.now = float(second)
        keeper.audits.on_tick()
        asked += [(second, row["result"], row["reason"]) for _, row in keeper.findings()]
    assert asked == [(3, "WANTED", "lost"), (15, "WANTED", "lost"), (27, "WANTED", "lost")]
    keeper.load(9)
    keeper.now = 30.0
    keeper.audits.on_tick()
    keeper.now = 100.0
    keeper.audits.on_tick()
    assert keeper.findings() == []


def test_a_book_that_was_never_compared_is_overdue_too() -> None:
    keeper = Keeper()
    keeper.load(5)
    keeper.now = 1000.0
    assert keeper.audits.oldest_audit() == 1000.0
    keeper.load(5)
    assert keeper.audits.oldest_audit() == 0.0


def test_a_closed_market_is_not_overdue_and_its_age_restarts_when_it_reopens() -> None:
    keeper = Keeper()
    keeper.load(5)
    keeper.now = 100.0
    assert keeper.audits.oldest_audit() == 100.0
    keeper.audits.on_outcome(keeper.market, keeper.market.on_closed("delisted", 1))
    assert keeper.audits.oldest_audit() == 0.0
    keeper.now = 1_000.0
    keeper.audits.on_outcome(keeper.market, keeper.market.on_reopened(2))
    keeper.now = 1_010.0
    assert keeper.audits.oldest_audit() == 10.0


def test_a_book_that_moved_to_another_builder_is_forgotten() -> None:
    keeper = Keeper()
    keeper.load(5)
    keeper.load(5)
    keeper.now = 7.0
    assert keeper.audits.oldest_audit() == 7.0
    keeper.load(9)
    keeper.audits.on_dropped(keeper.market)
    keeper.now = 1000.0
    keeper.audits.on_tick()
    assert [row["result"] for _, row in keeper.findings()] == ["MATCH"]
    assert (keeper.audits.oldest_audit(), keeper.audits.follows(SYMBOL.encode())) == (0.0, False)


def test_an_unreadable_record_of_a_book_without_a_snapshot_requests_one() -> None:
    keeper = Keeper()
    keeper.update(5)
    keeper.audits.on_outcome(keeper.market, keeper.market.on_unreadable("cannot be read"))
    keeper.audits.on_tick()
    keeper.now = 3.0
    keeper.audits.on_tick()
    [(_, row)] = keeper.findings()
    assert (row["result"], row["reason"]) == ("WANTED", "cannot be read")
