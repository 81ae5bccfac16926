"""Gives a measured server a processor of its own, so that its latencies are its own."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["alone"]


@contextmanager
def alone(pid: int) -> Iterator[None]:
    """Keep a process on one processor, and every other process of this benchmark on the others, until the context ends.

    Programs started meanwhile stay off that processor as well. Does nothing on a machine with one processor.

    Args:
        pid: the process, a descendant of this one.
    """
    usable = os.sched_getaffinity(0)
    if len(usable) < 2:
        yield
        return
    own = {max(usable)}
    others = [each for each in (os.getpid(), *_descendants(os.getpid())) if each != pid]
    _keep_on(others, usable - own)
    _keep_on([pid], own)
    try:
        yield
    finally:
        _keep_on([*others, pid], usable)


def _descendants(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            parent = int(stat.read_text().rpartition(") ")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    waiting = [pid]
    while waiting:
        found = children.get(waiting.pop(), [])
        waiting += found
        yield from found


def _keep_on(pids: Iterable[int], processors: set[int]) -> None:
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
            with suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(int(thread.name), processors)
