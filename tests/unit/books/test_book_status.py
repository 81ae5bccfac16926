"""What overrides the state of a sequence: closed before held, held before the sequence; LIVE only while a producer vouches."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.standing import Standing, Unvouched
from backpack_streams.books.status import Presentation, Status

SECOND = 1_000_000
AS_OF = 1_800_000_000 * SECOND


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


CASES = list(product(["", "closed"], ["", "catching up"], Status, ["vouched", "too old", "refused", "unproven"]))


@pytest.mark.parametrize(("closed", "held", "chain", "vouching"), CASES)
def test_the_strongest_status_is_shown(closed: str, held: str, chain: Status, vouching: str) -> None:
    clock = Clock()
    standing = Standing(clock)
    if vouching == "refused":
        standing.refuse("nobody")
    elif vouching == "unproven":
        standing.refuse("nothing", Unvouched.SYNCING)
    else:
        standing.vouch(AS_OF, clock.now + (5.0 if vouching == "vouched" else -0.1))
    shown = Presentation("SOL_USDC", standing, held)
    if closed:
        shown.close(closed, 7)
    of_standing = {
        "vouched": (Status.LIVE, ""),
        "too old": (Status.STALE, "no producer has vouched for depth.SOL_USDC since 2027-01-15 08:00:00.000Z"),
        "refused": (Status.STALE, "nobody"),
        "unproven": (Status.SYNCING, "nothing"),
    }[vouching]
    expected = of_standing if chain is Status.LIVE else (chain, "gap")
    if held:
        expected = Status.SYNCING, expected[1] if chain is not Status.LIVE else held
    if closed:
        expected = Status.CLOSED, closed
    found = shown.status(chain), shown.reason(chain, "gap")
    assert found == expected
    assert bool(found[1]) is (found[0] is not Status.LIVE)


@given(acts=st.lists(st.sampled_from(["hold", "release", "close", "reopen", "chain"]), max_size=12))
def test_since_is_the_time_of_the_shown_status(acts: list[str]) -> None:
    shown, closed_at, changed_at, is_held = Presentation("A", Standing()), None, None, False
    for now, act in enumerate(acts):
        if act == "hold":
            shown.hold("catching up")
            is_held = True
        elif act == "release":
            shown.release(now)
            changed_at, is_held = (now if is_held else changed_at), False
        elif act == "close":
            assert shown.close("closed", now) is (closed_at is None)
            closed_at = now if closed_at is None else closed_at
        elif act == "reopen":
            assert shown.reopen(now) is (closed_at is not None)
            changed_at, closed_at = (changed_at if closed_at is None else now), None
        else:
            shown.changed_at = changed_at = now
        assert shown.since == (changed_at if closed_at is None else closed_at)
        assert shown.is_covered is (is_held or closed_at is not None)
