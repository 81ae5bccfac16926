import json
from collections.abc import Sequence

import pytest

from backpack_streams.demo.service_report import ServiceReport, read_reasons, read_report
from backpack_streams.runtime.metrics import CounterTable, GaugeTable, new_registry, render


def page(reasons: Sequence[str] = (), **frames: int) -> str:
    registry = new_registry("market-producer", lambda: reasons)
    counter = CounterTable("frames", "Frames received.", ("channel",))
    for channel, count in frames.items():
        counter.cell(channel).value = count
    buffer = GaugeTable("publish_buffer_bytes", "Bytes that wait for Kafka.")
    buffer.cell().value = 42
    registry.register(counter)
    registry.register(buffer)
    return render(registry, "")[0].decode()


def test_frames_of_all_channels_are_summed() -> None:
    assert read_report(page(depth=7, trade=5)) == ServiceReport(True, (), frames=12, waiting_bytes=42)


def test_a_service_that_counts_no_frames_has_none() -> None:
    assert read_report(page()).frames == 0


def test_a_service_that_is_not_ready_gives_its_reasons_on_another_page() -> None:
    report = read_report(page(["starting"], depth=7))
    assert (report.is_ready, report.reasons) == (False, ())
    assert read_reasons(json.dumps({"status": "not ready", "reasons": ["starting"]})) == ("starting",)


@pytest.mark.parametrize("body", ["", "[]", "<html>"])
def test_another_program_s_pages_are_refused(body: str) -> None:
    with pytest.raises(ValueError, match="no page of ours"):
        read_report(body)
    with pytest.raises(ValueError, match=r"."):
        read_reasons(body)
