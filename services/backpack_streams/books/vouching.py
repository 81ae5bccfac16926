"""Checks every book against the producers' watermarks: which producer vouches for it, as of when, and on what proof. Sans I/O."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final

from backpack_streams.books.disproof import Disproof
from backpack_streams.books.kafka_record import KafkaRecord
from backpack_streams.books.market_book import SEED, MarketBook, Outcome
from backpack_streams.books.standing import Claim, Standing
from backpack_streams.books.unvouched import stream_of, why_not
from backpack_streams.books.watermark_intake import MAX_AGE_SECONDS, WatermarkIntake
from backpack_streams.bus.codec import Codec
from backpack_streams.errors import CodecError
from backpack_streams.sequencing.coverage import CoverageView
from backpack_streams.sequencing.runs import Mark, Run, RunKey
from backpack_streams.steady_clock import steady_seconds

__all__ = ["Disproof", "Vouching", "stream_of"]

GONE_SECONDS: Final = 30.0
"""A producer whose newest watermark is this long past its maximum age is gone; before that, the watermark may only be late."""
AHEAD_SECONDS: Final = 3.0
"""How long a snapshot may be ahead of a supposedly complete book: sockets may be behind REST, and Kafka behind both."""
_LOOK_SECONDS: Final = 0.1
_FORGET_SECONDS: Final = 600.0


class Vouching:
    """Judges books by watermarks and possible proofs; `refresh` decides for each book whether it may be LIVE.

    With a `max_age` of None every book may be LIVE. `now` is in seconds of `clock`.
    """

    def __init__(self, codec: Codec, watermarks: WatermarkIntake, clock: Callable[[], float] = steady_seconds) -> None:
        """Prepare without proofs.

        Args:
            codec: decodes updates.
            watermarks: what producers have covered, and the maximum age of their newest watermark.
            clock: returns the current time, in seconds.
        """
        self._codec = codec
        self.watermarks = watermarks
        self.max_age = watermarks.max_age
        self.clock = clock
        self._has_news = True
        self._next_look = self._next_forgetting = -inf
        self._disproofs: list[Disproof] = []

    @property
    def coverage(self) -> CoverageView:
        """What producers have covered."""
        return self.watermarks.coverage

    def take(self, batch: Sequence[KafkaRecord], now: float) -> None:
        """Take records of the watermarks' topic, read at `now`."""
        self.watermarks.take(batch, now)
        self._has_news = True

    def on_watermarks_recreated(self, markets: Iterable[MarketBook]) -> None:
        """Note that the watermarks' topic was recreated."""
        self.watermarks.begin_anew()
        for market in markets:
            market.standing.forget_watermarks()
        self._has_news = True

    # Proofs ---------------------------------------------------------------------------------------------------

    def add(self, market: MarketBook) -> None:
        """Start judging a new book; nothing vouches for it yet."""
        market.standing = Standing(self.clock)
        if self.max_age is not None:
            market.standing.refuse(*why_not(self.coverage, market, [], []))
            market.standing.was_vouched = False
            self._has_news = True

    def on_update(self, market: MarketBook, last_id: int, record: KafkaRecord) -> None:
        """Take an update that may prove its market's book, before the book takes it: one at or after `proof_from`, or in another partition.

        It proves the book in runs that write to the partition in which it is, since only there offsets tell what was sent after what.
        """
        stream, here = stream_of(market.symbol), (record.topic, record.partition)
        runs = self.coverage.runs(stream)
        near = frozenset(run.key for run in runs if run.topic_partition == here)
        if market.proof_from == inf or not near:
            return
        try:
            received_us = self._codec.decode(record.value or b"")[1]["received_time"]
        except (CodecError, KeyError):
            return
        keys = near.intersection(self.coverage.runs_before(stream, record.offset, received_us))
        if keys:
            market.standing.claims.append(Claim(last_id, keys))
            market.standing.disproved -= keys
            others = (run for run in runs if run.key not in keys)
            # Only one of several instances may be alive, and a single answer of Kafka may bring all remaining updates.
            market.proof_from = min(
                (each.next_offset for each in others if each.key not in near or each.next_offset > record.offset),
                default=inf,
            )
            self._has_news = True

    def expect_updates(self, markets: Iterable[MarketBook]) -> None:
        """Find the offset from which updates prove each book, before updates of these books come, maybe all in one answer."""
        for market in markets:
            if self.max_age is not None and market.is_whole:
                market.proof_from = self._proof_from(market, self._settle(market, self._runs(market)))

    def on_snapshot(self, market: MarketBook, snapshot: Mapping[str, Any], outcome: Outcome, is_new: bool) -> None:
        """Take a snapshot that a book has received, with its outcome. `is_new`: it was written after this reader joined."""
        is_of_book = outcome in (Outcome.RESYNCED, Outcome.BROKE)
        if is_of_book or (
            outcome is not Outcome.REFUSED and snapshot["last_update_id"] >= (market.last_update_id or 0)
        ):
            market.standing.claims.append(self.claim(snapshot, is_new))
            self._has_news = True
        if outcome is Outcome.RESYNCED:  # a producer that vouched for the old book may not vouch for the new one
            list(self._look_at(market, self.clock()))

    def on_lost(self, market: MarketBook, depth_next: int) -> None:
        """Record that updates of this market below an offset of its partition were not read, or were unreadable."""
        market.standing.on_lost(self.coverage.next_offset, depth_next)
        self._has_news = True

    def on_recreated(self, markets: Collection[MarketBook], why: str) -> None:
        """Record that the partition of these markets' updates was recreated, with the reason to show: what it held is gone, read or not."""
        for market in markets:
            market.standing.on_recreated(self.coverage.next_offset, why)
        self.expect_updates(markets)
        self._has_news = True

    def claim(self, snapshot: Mapping[str, Any], is_new: bool) -> Claim:
        """Return what a BookSnapshot record claims.

        An exchange answer states when it was requested. Without that, it was written after everything read before it.
        """
        if snapshot["origin"] != SEED:
            runs = (RunKey(run["instance"], run["since"]) for run in snapshot.get("covered_by") or ())
            return Claim(snapshot["last_update_id"], frozenset(runs), None, snapshot["delta_offset"])
        asked = snapshot.get("watermark_offset")
        return Claim(
            snapshot["last_update_id"], frozenset(), self.watermarks.seen_before if asked is None and is_new else asked
        )

    def keys(self, market: MarketBook, claim: Claim) -> frozenset[RunKey]:
        """Return the runs in which a claim proves this market's book."""
        if not market.standing.is_from_after(claim):
            return frozenset()
        if claim.watermarks_end is None:
            return claim.keys
        return claim.keys | self.coverage.runs_outlasting(stream_of(market.symbol), claim.watermarks_end)

    def proving_runs(self, market: MarketBook) -> frozenset[RunKey]:
        """Return the open runs in which a book is proven."""
        return frozenset(run.key for run in self._runs(market) if self._is_proven(market, run))

    def take_disproofs(self) -> list[Disproof]:
        """Return the disproofs since the last call, and clear them."""
        disproofs, self._disproofs = self._disproofs, []
        return disproofs

    def producers(self, market: MarketBook) -> int:
        """Return the number of producers that cover this market and have been heard from recently."""
        runs, now = self.coverage.runs(stream_of(market.symbol)), self.clock()
        return sum(now - run.producer.heard_at <= MAX_AGE_SECONDS for run in runs)

    def oldest_claim(self, markets: Iterable[MarketBook]) -> int | None:
        """Return the offset from which to read the watermarks' topic in order to judge the newest snapshots; None without a claim."""
        claims = (claim for market in markets for claim in market.standing.claims)
        return min((claim.watermarks_end for claim in claims if claim.watermarks_end is not None), default=None)

    # Judgement ------------------------------------------------------------------------------------------------

    def refresh(self, markets: Iterable[MarketBook], now: float) -> Iterator[tuple[MarketBook, Outcome]]:
        """Judge all books if there is news or 0.1 s has passed; yield each book whose standing changed, with the outcome."""
        if not self._has_news and now < self._next_look:
            return
        self._has_news, self._next_look = False, now + _LOOK_SECONDS
        if now >= self._next_forgetting:
            self._next_forgetting = now + _FORGET_SECONDS
            self.coverage.forget_old(now)
        yield from self.judge(markets, now)

    def judge(self, markets: Iterable[MarketBook], now: float) -> Iterator[tuple[MarketBook, Outcome]]:
        """Judge these books now, whether or not there is news; yields like `refresh`."""
        for market in markets:
            yield from self._look_at(market, now)

    def _look_at(self, market: MarketBook, now: float) -> Iterator[tuple[MarketBook, Outcome]]:
        standing, runs = market.standing, self._runs(market)
        if self.max_age is None:
            standing.as_of = self.coverage.as_of(stream_of(market.symbol)) or standing.as_of
            return
        if not market.is_whole:  # its sequence explains why; coverage shows once it is intact
            standing.refuse(*why_not(self.coverage, market, runs, []))
            standing.was_vouched = False
            return
        proving = self._settle(market, runs)
        others = [run for run in runs if run not in proving]
        market.proof_from = self._proof_from(market, proving)
        mark, other = self._newest(proving), self._newest(others)
        is_vouched_elsewhere = other is not None and not self._is_old(other, now)
        if mark is None or (self._is_old(mark, now) and is_vouched_elsewhere):
            standing.refuse(
                *why_not(self.coverage, market, *((others, []) if is_vouched_elsewhere else (runs, proving)))
            )
            outcome = self._go_for_snapshot(market, others)
        else:
            standing.vouch(mark.complete_through, mark.fresh_at + self.max_age)
            outcome = self._disprove(market, mark, proving, now)
            if outcome is None and self._is_old(mark, now - GONE_SECONDS):
                outcome = self._go_for_snapshot(market, runs)
        if outcome is not None:
            yield market, outcome
            if outcome is Outcome.RESYNCED:
                yield from self._look_at(market, now)
                return
        is_vouched = standing.is_vouched
        if standing.was_vouched is not is_vouched:
            standing.was_vouched = is_vouched
            yield market, market.on_vouched(is_vouched)

    def _go_for_snapshot(self, market: MarketBook, runs: Iterable[Run]) -> Outcome | None:
        """Replace the book by the pending snapshot if that is from the time of these runs, which do not prove the book.

        Such an answer of the exchange may be too old to prove a book, but it is ahead of one that nothing proves.
        """
        ahead, stream, keys = market.candidate_id, stream_of(market.symbol), {run.key for run in runs}
        for claim in [each for each in market.standing.claims if each.last_id == ahead]:
            begun = self.coverage.runs_at(stream, claim.watermarks_end or 0)
            if market.standing.is_from_after(claim) and keys & (claim.keys | begun):
                return market.on_disproved(f"snapshot {ahead} is ahead of the book, which nothing proves")
        return None

    def _settle(self, market: MarketBook, runs: Sequence[Run]) -> list[Run]:
        """Return the runs in which a book is proven. Applies claims that the book has reached; a book that went back loses its proof."""
        standing, last_id = market.standing, market.last_update_id or 0
        if last_id < standing.proven_id:
            standing.lose_proof()
        proving = [run for run in runs if self._is_proven(market, run)]
        if len(proving) < len(runs):
            for claim in standing.claims:
                if claim.last_id <= last_id and (keys := self.keys(market, claim)):
                    standing.prove(max(claim.last_id, standing.proven_id), keys)
            proving = [run for run in runs if self._is_proven(market, run)]
        keys = frozenset(run.key for run in proving)
        if not keys <= standing.proven:  # a run that continues a proven run is proven itself from now on
            standing.prove(standing.proven_id, keys)
        return proving

    def _is_proven(self, market: MarketBook, run: Run) -> bool:
        standing = market.standing
        return market.is_whole and self.coverage.holds(run, standing.proven)

    def _is_old(self, mark: Mark, now: float) -> bool:
        return self.max_age is not None and now > mark.fresh_at + self.max_age

    def _newest(self, runs: Iterable[Run]) -> Mark | None:
        marks = [mark for run in runs if (mark := self.coverage.newest_mark(run)) is not None]
        return max(marks, key=lambda mark: mark.fresh_at, default=None)

    def _runs(self, market: MarketBook) -> list[Run]:
        """Return the open runs of the market's stream, without the disproved ones."""
        runs, disproved = self.coverage.runs(stream_of(market.symbol)), market.standing.disproved
        return [run for run in runs if run.key not in disproved] if disproved else runs

    def _proof_from(self, market: MarketBook, proving: Sequence[Run]) -> float:
        """Return the first offset from which updates may prove the book in a run that does not prove it yet, disproved runs included."""
        runs = self.coverage.runs(stream_of(market.symbol))
        return min((run.next_offset for run in runs if run not in proving), default=inf)

    def _disprove(self, market: MarketBook, mark: Mark, runs: Iterable[Run], now: float) -> Outcome | None:
        """Break the book for a snapshot that stays ahead of it; it is not LIVE until something other than these runs proves it."""
        ahead = self._stays_ahead(market, mark, now)
        if ahead is None:
            return None
        why = f"the exchange's snapshot is at update {ahead}, and no producer brought what lies before that"
        self._disproofs.append(Disproof(market.symbol, market.last_update_id or 0, ahead, why))
        market.standing.on_disproved(frozenset(run.key for run in runs), why)
        market.standing.refuse(f"what producers say of {stream_of(market.symbol)} is disproved: {why}")
        market.proof_from = self._proof_from(market, ())
        return market.on_disproved(why)

    def _stays_ahead(self, market: MarketBook, mark: Mark, now: float) -> int | None:
        """Return the id of a snapshot that has been ahead of a supposedly complete book since well before the watermark; else None."""
        standing, ahead = market.standing, market.candidate_id
        if ahead is None:
            standing.ahead_since = None
        elif standing.ahead_since is None or standing.ahead_since[0] != ahead:
            standing.ahead_since = ahead, now
        elif mark.fresh_at > standing.ahead_since[1] + AHEAD_SECONDS:
            return ahead
        return None
