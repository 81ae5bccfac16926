"""A real Chromium for tests of pages, from PATH or else installed from Debian's packages; and pages that report their errors."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from embedded_kafka.downloads import only_one_process

NAMES = ("chromium", "chromium-browser", "google-chrome")
TO_DO = "install Chromium (Debian, as root: apt-get install --no-install-recommends chromium), so that `chromium` is on PATH"
FLAGS = (
    "--no-sandbox",  # as root, as in CI
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = 60_000
"""Time limit for anything on a page; a machine that is busy with other tests draws late."""


class NoBrowserError(Exception):
    """There is no Chromium and it cannot be installed; the message says what to install."""


def chromium() -> Path:
    """Return the path of Chromium; install it first if necessary.

    Raises:
        NoBrowserError: it cannot be installed.
    """
    with only_one_process("chromium", threading.Event()):
        found = _on_path() or _installed()
    if found is None:
        raise NoBrowserError(f"no Chromium found: {TO_DO}")
    return found


def _on_path() -> Path | None:
    paths = filter(None, map(shutil.which, NAMES))
    return next(map(Path, paths), None)


def _installed() -> Path | None:
    """Install it from Debian's packages. Only unpacking it, as tests of Prometheus do, would lack a hundred libraries."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["install", "--yes", "--no-install-recommends", "chromium"]
    for words in (["update"], install):  # if the update fails, the old package lists may suffice
        command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *words]
        subprocess.run(command, env=environment, capture_output=True, check=False, timeout=900)
    return _on_path()


@contextmanager
def running_browser(program: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Troubles:
    """Problems reported by a browser: script errors, and content that the page's security policy blocked."""

    def __init__(self, context: BrowserContext) -> None:
        self.found: list[str] = []
        context.on("console", self._said)
        context.on("weberror", lambda error: self.found.append(str(error.error)))

    def _said(self, message: ConsoleMessage) -> None:
        url = str(message.location.get("url"))
        is_lost_connection = "ERR_CONNECTION" in message.text or "WebSocket connection" in message.text
        is_refusal = "Failed to load resource" in message.text and "/v1/" in url  # the page decides how to handle it
        if message.type == "error" and not is_lost_connection and not is_refusal:
            self.found.append(f"{message.text} ({url})")


@contextmanager
def opened(browser: Browser, url: str, **options: object) -> Iterator[Page]:
    """Open `url` in a new browser profile; fail if the page had an error."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})  # type: ignore[arg-type]
    context.set_default_timeout(WAIT_MS)
    troubles = Troubles(context)
    try:
        page = context.new_page()
        page.goto(url)
        yield page
    finally:
        context.close()
    assert troubles.found == []
