"""The live page in a real Chromium while one book moves faster than the screen, compared with a blank page."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.frames import MARKETS, markets
from benchmarks.gateway import plant
from benchmarks.lab import Lab
from benchmarks.report import one, table, two

UPDATES_A_SECOND = 100
"""Of each book: more than a screen shows."""
_TIMEOUT_SECONDS = 180.0
"""The browser may have to be installed first."""
_IS_LIVE = '#book-status:text-is("LIVE")'


@dataclass(slots=True)
class PageFigures:
    """What `page_frames` prints, by page."""

    pages: dict[str, dict[str, Any]] = field(default_factory=dict)

    def tables(self) -> str:
        """Return a table for people."""
        rows = [
            [
                name,
                one(each["frames_a_second"]),
                *(one(each["interval_ms"][share]) for share in ("p50", "p99", "max")),
                f"{each['late']} of {each['frames']}",
                one(each["changes_a_second"]),
                two(each["busy_ms"]),
                two(each["script_ms"]),
            ]
            for name, each in self.pages.items()
        ]
        heads = (
            *("a screen of 60 Hz", "frames/s", "p50 ms", "p99 ms", "max ms", "late frames", "ladder's changes/s"),
            *("main thread ms a frame", "script"),
        )
        return table("The live page in Chromium, drawn without a graphics card", heads, rows)


async def measure(lab: Lab, prefix: str, seconds: float) -> PageFigures:
    """Start the plant at UPDATES_A_SECOND of each book, and open one book's page; then a blank page, beside the same plant."""
    figures = PageFigures()
    rate = UPDATES_A_SECOND * MARKETS
    async with plant(lab, prefix, rate) as served:
        url = f"http://127.0.0.1:{served.port}/"
        pages: dict[str, tuple[str, ...]] = {
            f"one market, {UPDATES_A_SECOND} book updates/s": (
                *("--url", f"{url}#/{markets()[0].symbol}"),
                *("--until", _IS_LIVE, "--changing", "#levels"),
            ),
            "blank page": ("--url", "about:blank"),
        }
        for name, words in pages.items():
            lab.say(f"frames of the {name}")
            async with lab.run("browser", "benchmarks.page_frames", *words, "--seconds", seconds) as browser:
                figures.pages[name] = await browser.result(_TIMEOUT_SECONDS + seconds)
    return figures
