"""A process that opens a page in a real Chromium and counts the frames it draws; prints the figures as one line of JSON.

Frames are counted by `requestAnimationFrame`, which a browser calls before each frame that it draws (HTML standard, section 8.11), on
a screen of 60 Hz. The browser's own counters (Chrome DevTools Protocol, `Performance.getMetrics`) tell how long its main thread worked.
"""

import argparse
import json
from itertools import pairwise
from typing import Any

from playwright.sync_api import Page

from benchmarks.numbers import latencies_ms
from browser import chromium, opened, running_browser

_FRAMES = """seconds => new Promise(done => {
  const times = [];
  const begun = performance.now();
  const step = now => {
    times.push(now);
    if (now - begun < seconds * 1000) requestAnimationFrame(step); else done(times);
  };
  requestAnimationFrame(step);
})"""
_CHANGES = """selector => {
  window.changes = 0;
  const count = () => { window.changes += 1; };
  new MutationObserver(count).observe(document.querySelector(selector), {childList: true, characterData: true, subtree: true});
}"""
_WARM_UP_SECONDS = 2.0
_LATE_MS = 25.0
"""A frame this long after the one before has missed at least one of the screen's, 16.7 ms apart."""


def measured(page: Page, seconds: float, changing: str | None) -> dict[str, Any]:
    """Return the figures of a page over a time.

    Args:
        page: the page, loaded.
        seconds: how long to count.
        changing: selector of an element whose changes are counted.
    """
    page.evaluate(_FRAMES, _WARM_UP_SECONDS)
    if changing is not None:
        page.evaluate(_CHANGES, changing)
    counters = page.context.new_cdp_session(page)
    counters.send("Performance.enable")
    before = _counters(counters.send("Performance.getMetrics"))
    times = page.evaluate(_FRAMES, seconds)
    after = _counters(counters.send("Performance.getMetrics"))
    intervals = [after - before for before, after in pairwise(times)]
    frames, span = len(intervals), (times[-1] - times[0]) / 1000
    return {
        "frames_a_second": frames / span,
        "late": sum(interval > _LATE_MS for interval in intervals),
        "frames": frames,
        "interval_ms": latencies_ms([int(interval * 1000) for interval in intervals]),
        "changes_a_second": 0 if changing is None else page.evaluate("window.changes") / span,
        "busy_ms": (after["TaskDuration"] - before["TaskDuration"]) / frames * 1000,
        "script_ms": (after["ScriptDuration"] - before["ScriptDuration"]) / frames * 1000,
    }


def _counters(answer: dict[str, Any]) -> dict[str, float]:
    return {each["name"]: each["value"] for each in answer["metrics"]}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--until", help="selector of an element that appears once the page shows what is measured")
    parser.add_argument("--changing", help="selector of an element whose changes are counted")
    arguments = parser.parse_args()
    with running_browser(chromium()) as browser, opened(browser, arguments.url) as page:
        if arguments.until is not None:
            page.wait_for_selector(arguments.until)
        print(json.dumps(measured(page, arguments.seconds, arguments.changing)))


if __name__ == "__main__":
    main()
