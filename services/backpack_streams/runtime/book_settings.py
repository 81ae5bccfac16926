"""The setting of programs that show books."""

from typing import Any

from backpack_streams.runtime.setting_fields import seconds


def max_age(*, may_be_infinite: bool = False) -> Any:
    """Return the field `max_age`: seconds.

    Args:
        may_be_infinite: whether the user may do without watermarks.
    """
    text = "a book is STALE if its newest watermark is older than this many seconds"
    text += "; inf: no producer needs to vouch for a LIVE book" if may_be_infinite else ""
    return seconds(5.0, text, gt=0, is_finite=not may_be_infinite)
