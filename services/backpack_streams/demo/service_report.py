"""What the demo shows of a service's /readyz and /metrics. Sans I/O."""

import json
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from backpack_streams.runtime.metrics import METRIC_PREFIX

__all__ = ["ServiceReport", "read_reasons", "read_report"]

_FRAMES: Final = METRIC_PREFIX + "frames_total"
_BUFFER: Final = METRIC_PREFIX + "publish_buffer_bytes"
_READY: Final = METRIC_PREFIX + "service_ready"
_SHOWN: Final = (_READY, _FRAMES, _BUFFER)


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One service at one moment; a number is 0 if the service does not count it."""

    is_ready: bool
    reasons: tuple[str, ...] = ()
    """Why it is not ready."""
    frames: int = 0
    """Number of frames that its sockets have delivered since its start."""
    waiting_bytes: int = 0
    """Bytes that wait for Kafka."""


def read_report(metrics_body: str) -> ServiceReport:
    """Parse the body of /metrics, which shows that a service is not ready but not why.

    Args:
        metrics_body: text in Prometheus' exposition format; frames and bytes are summed over their labels.

    Raises:
        ValueError: the body is not that of a service's /metrics.
    """
    sums = dict.fromkeys(_SHOWN, 0)
    # Parsing all lines would cost ten times as much as parsing these few.
    lines = "\n".join(line for line in metrics_body.splitlines() if line.startswith(_SHOWN))
    seen = False
    for family in text_string_to_metric_families(lines):
        for sample in family.samples:
            if sample.name in sums:
                sums[sample.name] += int(sample.value)
                seen = seen or sample.name == _READY
    if not seen:
        raise ValueError(f"this is no page of ours: {metrics_body[:100]!r}")
    return ServiceReport(bool(sums[_READY]), (), sums[_FRAMES], sums[_BUFFER])


def read_reasons(readiness_body: str) -> tuple[str, ...]:
    """Return why a service is not ready, from the body of /readyz.

    Raises:
        ValueError: the body is not that of a service's /readyz.
    """
    readiness = json.loads(readiness_body)
    if not isinstance(readiness, dict):
        raise ValueError(f"/readyz is no JSON object: {readiness_body[:100]!r}")
    return tuple(str(reason) for reason in readiness.get("reasons", ()))
