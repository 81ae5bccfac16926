"""The reasons for which a stream can lose records, so that each is counted from 0. Sans I/O."""

from collections.abc import Iterator

from backpack_streams.feed import reports
from backpack_streams.feed.family import Family


def loss_reasons(family: Family) -> Iterator[str]:
    """The reasons of gaps that are losses; STREAM_START is not one."""
    yield from (reports.RESTART, reports.DISCONNECTED, reports.SUBSCRIPTION_REFUSED, reports.SUBSCRIPTION_SILENT)
    yield from (reports.NOT_SUBSCRIBED, reports.BUFFER_FULL, reports.REJECTED_BY_KAFKA)
    if family.chained:
        yield from (reports.SEQUENCE_BREAK, reports.SEQUENCE_RESTARTED, reports.UNREADABLE_FRAME)
    if family.candles:
        yield reports.SEQUENCE_BREAK
