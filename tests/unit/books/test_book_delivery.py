"""Each event is delivered once and in order, however consumers come and go; the book is then in the state right after that event."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backpack_streams.books.delivery import Delivery
from thoroughness import runs

SYMBOLS = "ABC"
MOST = 20


class Event(NamedTuple):
    symbol: str
    number: int


def unheard(*_: object) -> None:
    raise AssertionError(_)


class Deliveries(RuleBasedStateMachine):
    """The model holds the events that were read and not yet applied, in order, and the latest event of each market put aside."""

    def __init__(self) -> None:
        super().__init__()
        self.delivery: Delivery[Event] = Delivery(MOST, lambda: None, unheard)
        self.happened: list[Event] = []
        self.waiting: list[Event] = []
        self.aside: dict[str, Event] = {}
        self.read = self.replaced = 0

    def _happens(self, events: list[Event]) -> Iterator[Event]:
        for event in events:
            self.happened.append(event)
            yield event

    @rule(symbols=st.text(SYMBOLS, max_size=6))
    def a_poll(self, symbols: str) -> None:
        batch = [Event(symbol, self.read + place) for place, symbol in enumerate(symbols, 1)]
        self.read += len(batch)
        self.waiting += batch
        self.delivery.put(self._happens(batch), len(batch))

    @rule(most=st.integers(1, 6))
    def events_are_taken(self, most: int) -> None:
        """The consumer then leaves the loop without notice."""
        for _ in range(most):
            event = self.delivery.take()
            if event is not None:
                self._is_given(event)
            elif not self.delivery.begin():
                assert not self.waiting
                assert self.delivery.is_given
                return

    @rule(most=st.integers(1, 6))
    def a_part_of_a_batch_is_taken(self, most: int) -> None:
        if self.delivery.begin():
            for _, event in zip(range(most), self.delivery.batch(), strict=False):
                self._is_given(event)

    def _is_given(self, event: Event) -> None:
        if self.aside:
            assert event == self.aside.pop(next(iter(self.aside)))
        else:
            assert event == self.waiting.pop(0)
            assert event == self.happened[-1], "the book is not the one right after this event"

    @rule()
    def a_batch_is_passed_over(self) -> None:
        before = len(self.happened)
        has_any = self.delivery.pass_over()
        assert has_any or not self.waiting
        for event in self.happened[before:]:
            assert event == self.waiting.pop(0)
            self.replaced += event.symbol in self.aside
            self.aside[event.symbol] = event

    @invariant()
    def all_that_has_not_happened_counts_against_the_bound(self) -> None:
        assert self.delivery.records >= len(self.waiting)
        assert self.delivery.room == max(0, MOST - self.delivery.records)
        assert self.delivery.replaced == self.replaced
        if self.delivery.is_applied:
            assert (self.delivery.records, self.waiting) == (0, [])


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = runs(100, 40)


def test_a_batch_that_cannot_be_applied_is_reported_and_raised() -> None:
    told: list[Exception] = []
    delivery: Delivery[Event] = Delivery(MOST, lambda: None, told.append)

    def broken() -> Iterator[Event]:
        yield Event("A", 1)
        raise ValueError("no such thing")

    delivery.put(broken(), 2)
    assert delivery.begin()
    assert delivery.take() == Event("A", 1)
    with pytest.raises(ValueError, match="no such thing"):
        delivery.take()
    assert [str(error) for error in told] == ["no such thing"]
