"""The range of offsets that is exported holds every record of the time, even if some times are absurd."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from backpack_streams.commands.export.command import _spans
from backpack_streams.commands.export.settings import ExportSettings
from topics_in_memory import PREFIX, SECOND, T0, MemoryReader, Topics

BEGIN = datetime.fromtimestamp(T0 / SECOND, UTC)


async def test_a_record_with_an_absurd_time_does_not_end_the_range(tmp_path: Path) -> None:
    topics = Topics()
    for number in range(1000):
        topics.trade(number, seconds=30 * 86_400.0 if number == 10 else number, received=number)
    settings = ExportSettings(
        from_time=BEGIN, to_time=BEGIN + timedelta(seconds=800), late_seconds=100.0, out=str(tmp_path)
    )
    spans = await _spans(MemoryReader(topics), PREFIX + "market.trade", settings)  # type: ignore[arg-type]
    assert spans == {(PREFIX + "market.trade", 0): (0, 900)}
