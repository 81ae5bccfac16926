"""The reasons for which a stream can lose records, so that each is counted from 0. Sans I/O."""

from collections.abc import Iterator

from backpack_streams.feed.stream_spec import StreamSpec
from backpack_streams.publishing import reports


def loss_reasons(spec: StreamSpec) -> Iterator[str]:
    """Yield the reasons of gaps that are losses; STREAM_START is not one.

    Args:
        spec: the stream spec. Only a stream with consecutive ids, or one of candles, can show a break of its sequence.
    """
    yield from (reports.RESTART, reports.DISCONNECTED, reports.SUBSCRIPTION_REFUSED, reports.SUBSCRIPTION_SILENT)
    yield from (reports.NOT_SUBSCRIBED, reports.BUFFER_FULL, reports.REJECTED_BY_KAFKA)
    yield reports.RECORDS_DELETED
    if spec.sequenced:
        yield from (reports.SEQUENCE_BREAK, reports.SEQUENCE_RESTARTED, reports.UNREADABLE_FRAME)
    if spec.candles:
        yield reports.SEQUENCE_BREAK
