"""What a service says of itself on /readyz and /metrics, as far as the demo shows it. Sans I/O."""

import json
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from backpack_streams.runtime.metrics import METRIC_PREFIX

__all__ = ["ServiceReport", "read_report"]

_FRAMES: Final = METRIC_PREFIX + "frames_total"
_BUFFER: Final = METRIC_PREFIX + "publish_buffer_bytes"
_OPEN_GAPS: Final = METRIC_PREFIX + "seed_gaps_open"


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One service at one moment; the numbers are 0 for a service that does not count such things."""

    is_ready: bool
    reasons: tuple[str, ...] = ()
    """Why it is not ready."""
    frames: int = 0
    """Frames that its sockets delivered, ever."""
    waiting_bytes: int = 0
    """Bytes that wait for Kafka."""
    gaps_open: int = 0
    """Gaps that wait for their seed."""


def read_report(readiness_body: str, metrics_body: str) -> ServiceReport:
    """From the bodies of /readyz and /metrics.

    Raises:
        ValueError: one is not what such a page looks like.
    """
    readiness = json.loads(readiness_body)
    if not isinstance(readiness, dict):
        raise ValueError(f"/readyz is no JSON object: {readiness_body[:100]!r}")
    reasons = tuple(str(reason) for reason in readiness.get("reasons", ()))
    sums = dict.fromkeys((_FRAMES, _BUFFER, _OPEN_GAPS), 0)
    for family in text_string_to_metric_families(metrics_body):
        for sample in family.samples:
            if sample.name in sums:
                sums[sample.name] += int(sample.value)
    return ServiceReport(not reasons, reasons, sums[_FRAMES], sums[_BUFFER], sums[_OPEN_GAPS])
