import json

import pytest

from backpack_streams.demo.service_report import ServiceReport, read_report
from backpack_streams.runtime.metrics import CounterTable, GaugeTable, new_registry, render

READY = json.dumps({"status": "ready", "reasons": []})


def page(**frames: int) -> str:
    registry = new_registry("market-producer", list)
    counter = CounterTable("frames", "Frames received.", ("channel",))
    for channel, count in frames.items():
        counter.cell(channel).value = count
    buffer = GaugeTable("publish_buffer_bytes", "Bytes that wait for Kafka.")
    buffer.cell().value = 42
    registry.register(counter)
    registry.register(buffer)
    return render(registry, "")[0].decode()


def test_frames_of_all_channels_are_added_up() -> None:
    report = read_report(READY, page(depth=7, trade=5))
    assert report == ServiceReport(True, (), frames=12, waiting_bytes=42)


def test_reasons_make_it_not_ready() -> None:
    report = read_report(json.dumps({"status": "not ready", "reasons": ["starting"]}), "")
    assert report == ServiceReport(False, ("starting",))


@pytest.mark.parametrize("body", ["", "[]", "<html>"])
def test_another_program_s_page_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_report(body, "")
