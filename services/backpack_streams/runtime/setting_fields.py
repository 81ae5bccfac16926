"""Kinds of setting that many services have: durations and ports."""

from typing import Any

from pydantic import Field

__all__ = ["metrics_port", "port", "seconds"]


def seconds(
    default: float | None,
    description: str,
    *,
    gt: float | None = None,
    ge: float | None = None,
    le: float | None = None,
    is_finite: bool = True,
) -> Any:
    """Return the field of a duration in seconds.

    Args:
        default: its default; None for no duration.
        description: its line in the help.
        gt: it must be longer than this.
        ge: it must be at least this long.
        le: it must be at most this long.
        is_finite: whether `inf` is refused.
    """
    return Field(
        default=default,
        gt=gt,
        ge=ge,
        le=le,
        allow_inf_nan=not is_finite,
        description=description,
        json_schema_extra={"metavar": "SECONDS"},
    )


def port(default: int, description: str) -> Any:
    """Return the field of a TCP port, which may be 0.

    Args:
        default: the default port.
        description: its line in the help, which says what 0 means.
    """
    return Field(default=default, ge=0, le=65535, description=description, json_schema_extra={"metavar": "PORT"})


def metrics_port(default: int) -> Any:
    """Return the field `metrics_port` with a service's own default port."""
    return port(default, "port of /metrics, /healthz and /readyz; 0 for none")
