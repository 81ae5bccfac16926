"""Reading pauses while there is a reason, and each reason is ended by its owner."""

from backpack_streams.feed.read_pause import (
    KAFKA_BEHIND,
    LONGEST_PAUSE_SECONDS,
    PAUSE_AT_SHARE,
    RESUME_AT_SHARE,
    START_HOLDS,
    ReadPause,
)


class Sockets:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.pause = ReadPause(lambda: self.calls.append("pause"), lambda: self.calls.append("resume"))


def test_a_full_buffer_pauses_until_it_has_emptied() -> None:
    sockets = Sockets()
    sockets.pause.watch_buffer(PAUSE_AT_SHARE, 0.0)
    assert sockets.calls == []
    sockets.pause.watch_buffer(PAUSE_AT_SHARE + 0.01, 1.0)
    assert (sockets.calls, sockets.pause.reasons) == (["pause"], (KAFKA_BEHIND,))
    sockets.pause.watch_buffer(RESUME_AT_SHARE, 2.0)
    sockets.pause.watch_buffer(0.9, 3.0)
    assert sockets.calls == ["pause"]
    sockets.pause.watch_buffer(RESUME_AT_SHARE - 0.01, 4.0)
    assert (sockets.calls, sockets.pause.reasons) == (["pause", "resume"], ())


def test_an_expired_pause_does_not_start_again_before_the_buffer_has_emptied() -> None:
    sockets = Sockets()
    sockets.pause.watch_buffer(0.9, 0.0)
    sockets.pause.watch_buffer(0.9, LONGEST_PAUSE_SECONDS)
    assert sockets.calls == ["pause"]
    sockets.pause.watch_buffer(0.9, LONGEST_PAUSE_SECONDS + 0.1)
    for second in range(20, 40):
        sockets.pause.watch_buffer(0.9, second)
    sockets.pause.watch_buffer(0.4, 40.0)
    sockets.pause.watch_buffer(0.9, 41.0)
    assert sockets.calls == ["pause", "resume"]
    sockets.pause.watch_buffer(0.1, 42.0)
    sockets.pause.watch_buffer(0.9, 43.0)
    assert sockets.calls == ["pause", "resume", "pause"]
    sockets.pause.watch_buffer(0.9, 43.0 + LONGEST_PAUSE_SECONDS)
    assert sockets.calls == ["pause", "resume", "pause"], "it has its whole time again"


def test_reasons_of_two_owners_overlap_and_each_ends_its_own() -> None:
    sockets = Sockets()
    sockets.pause.set(START_HOLDS)
    sockets.pause.set(START_HOLDS)
    sockets.pause.watch_buffer(0.9, 0.0)
    assert sockets.pause.reasons == (START_HOLDS, KAFKA_BEHIND)
    sockets.pause.watch_buffer(0.1, 1.0)
    assert (sockets.calls, sockets.pause.reasons) == (["pause"], (START_HOLDS,))
    sockets.pause.watch_buffer(0.9, 2.0)
    sockets.pause.clear(START_HOLDS)
    assert (sockets.calls, sockets.pause.reasons) == (["pause"], (KAFKA_BEHIND,))
    sockets.pause.watch_buffer(0.9, 2.5 + LONGEST_PAUSE_SECONDS)
    assert sockets.calls == ["pause", "resume"]


def test_clearing_a_reason_that_is_not_set_resumes_nothing() -> None:
    sockets = Sockets()
    sockets.pause.clear(START_HOLDS)
    sockets.pause.watch_buffer(0.0, 0.0)
    assert sockets.calls == []
