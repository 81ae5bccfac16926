"""The settings of `book`."""

from pydantic import Field

from backpack_streams.runtime.book_settings import max_age
from backpack_streams.runtime.instants import Instant
from backpack_streams.runtime.output_settings import OutputSettings
from backpack_streams.runtime.setting_fields import seconds
from backpack_streams.runtime.settings import KafkaSettings, LogSettings


class BookSettings(OutputSettings, KafkaSettings, LogSettings):
    """The settings of `backpack-streams book`."""

    once: bool = Field(default=False, description="wait until the books are LIVE, print them and end")
    at: Instant | None = Field(
        default=None,
        description="print the books as of this past moment, by the exchange's engine time, and end; UTC if no zone is named",
        json_schema_extra={"metavar": "TIME"},
    )
    depth: int | None = Field(
        default=None, ge=1, description="levels of each side to print; for people 10 if not given, with --json all"
    )
    timeout: float = seconds(
        60.0, "seconds to wait for the books to be LIVE with --once, or to be read with --at", gt=0
    )
    max_age: float = max_age(may_be_infinite=True)
