"""The setting of programs that show books."""

from typing import Any

from pydantic import Field


def max_age(*, may_be_infinite: bool = False) -> Any:
    """Return the field `max_age`: seconds.

    Args:
        may_be_infinite: whether the user may do without watermarks.
    """
    text = "a book is STALE if its newest watermark is older than this many seconds"
    return Field(
        default=5.0,
        gt=0,
        allow_inf_nan=may_be_infinite,
        description=text + ("; inf: no producer needs to vouch for a LIVE book" if may_be_infinite else ""),
        json_schema_extra={"metavar": "SECONDS"},
    )
