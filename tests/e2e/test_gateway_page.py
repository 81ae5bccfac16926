"""The live page in a real Chromium, on a real gateway with Kafka, producers and the sandbox exchange."""

import gzip
import json
import os
import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("playwright", reason="the browser tests need the package playwright, which the extra dev brings")

from playwright.sync_api import Browser, Locator, Page, expect

from browser import WAIT_MS, NoBrowserError, chromium, opened, running_browser
from embedded_kafka import BlockingKafka
from plant import PROGRAM, Plant, Service, free_port, get, running_plant, wait_until

# The first test may have to install the browser.
pytestmark = pytest.mark.timeout(1200)

SYMBOL = "BTC_USDC_PERP"
SPOT = "SOL_USDC"
MARKETS = 8
CUT_SECONDS = 10
AXE = Path(__file__).parents[1] / "data" / "axe-core" / "axe.min.js.gz"
SERIOUS = {"serious", "critical"}
LEVEL_ROWS = "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"

expect.set_options(timeout=WAIT_MS)


class Stage(NamedTuple):
    """A plant with live books, and a gateway."""

    plant: Plant
    port: int
    gateway: Service

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def listed(self) -> int:
        """Number of markets that the gateway lists, with or without books. On a slow machine Kafka may take a while to answer it."""
        wait_until("the gateway lists markets", partial(answers, f"{self.url}/v1/markets"))
        return int(json.loads(get(f"{self.url}/v1/markets"))["data"]["count"])


def answers(url: str) -> bool:
    try:
        return bool(get(url))
    except OSError:  # a 503 too
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        program = chromium()
    except NoBrowserError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with running_browser(program) as started:
        yield started


@pytest.fixture(scope="module")
def stage(kafka: BlockingKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("page")
    with running_plant(kafka.bootstrap_servers, folder, "page.") as plant:
        plant.start_exchange("--symbols", str(MARKETS), "--rate", "80", "--ledger-messages", "20000")
        plant.start_ready("rest-poller")
        services = [plant.start("market-producer"), plant.start("perp-producer"), plant.start("book-builder")]
        for service in services:
            wait_until(f"{service.arguments[0]} is ready", service.is_ready)
        port = free_port()
        yield Stage(plant, port, start_gateway(plant, port))


def start_gateway(plant: Plant, port: int, *options: str) -> Service:
    gateway = plant.start("gateway", "--port", str(port), *options)
    wait_until("the gateway is ready", gateway.is_ready)
    return gateway


def open_market(page: Page, symbol: str = SYMBOL) -> None:
    """Open the market and wait for a current book."""
    page.goto(f"{page.url.partition('#')[0]}#/{symbol}")
    expect(page.locator("#market-name")).to_have_text(symbol.replace("_", " "))
    expect(page.locator("#book-status")).to_have_text("LIVE")


def update_id(page: Page) -> int:
    return int(page.locator("#ladder-legend").inner_text().removeprefix("update "))


def wait_for_a_newer_book(page: Page) -> None:
    before = update_id(page)
    wait_until("the book moves", lambda: update_id(page) > before)


# ---- books


def shown_book(page: Page) -> tuple[int, dict[str, list[list[str]]]]:
    """The update id, and price and size of each level, best first, all at one moment."""
    shown = page.evaluate(
        f"""() => [document.getElementById("ladder-legend").textContent,
            ...["asks", "bids"].map(side => ({LEVEL_ROWS})([...document.getElementById(side).children]))]"""
    )
    legend, asks, bids = shown
    rows = {"asks": asks[::-1], "bids": bids}
    plain = {side: [[plain_number(cell) for cell in row[:2]] for row in levels] for side, levels in rows.items()}
    return int(legend.removeprefix("update ")), plain


def plain_number(shown: str) -> str:
    return format(Decimal(shown.replace(",", "")).normalize(), "f")


def test_the_book_moves_and_equals_the_exchanges_to_the_last_digit(browser: Browser, stage: Stage) -> None:
    with opened(browser, stage.url) as page:
        open_market(page)
        for _ in range(3):
            wait_for_a_newer_book(page)
            at, shown = shown_book(page)
            truth = stage.plant.exchange.ask(f"/books/{SYMBOL}?at={at}")
            for side, levels in shown.items():
                assert len(levels) >= 7
                assert levels == [[plain_number(each) for each in level] for level in truth[side][: len(levels)]]


def test_totals_are_exact_sums(browser: Browser, stage: Stage) -> None:
    with opened(browser, stage.url) as page:
        open_market(page)
        rows = page.locator("#bids").evaluate(f"body => ({LEVEL_ROWS})([...body.children])")
    total = Decimal(0)
    for _, size, shown in rows:
        total += Decimal(size.replace(",", ""))
        assert Decimal(shown.replace(",", "")) == total


def test_trades_arrive_with_their_side(browser: Browser, stage: Stage) -> None:
    with opened(browser, stage.url) as page:
        open_market(page)
        rows = page.locator("#tape tr")
        expect(rows.first).to_be_attached()
        first = rows.first.inner_text()
        wait_until("a trade arrives", lambda: rows.first.inner_text() != first)
        cells = [row.split() for row in rows.all_inner_texts()]
    assert {cell[0] for cell in cells} <= {"▲", "▼"}


# ---- the list


def symbols_shown(page: Page) -> list[str]:
    return [
        href.removeprefix("#/") for href in page.locator("#market-rows a").evaluate_all("all => all.map(a => a.hash)")
    ]


def test_keyboard_search_opens_a_market(browser: Browser, stage: Stage) -> None:
    with opened(browser, stage.url) as page:
        expect(page.locator("#market-rows tr")).to_have_count(stage.listed())
        page.keyboard.press("/")
        expect(page.locator("#search")).to_be_focused()
        page.keyboard.type("sol usd")
        expect(page.locator("#market-count")).to_have_text(re.compile(rf"^\d of {stage.listed()} markets$"))
        found = symbols_shown(page)
        assert found
        assert all("SOL" in symbol for symbol in found)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator("#market-name")).to_have_text(found[0].replace("_", " "))
        expect(page.locator("#book-status")).to_have_text("LIVE")


def test_columns_sort_both_ways(browser: Browser, stage: Stage) -> None:
    with opened(browser, stage.url) as page:
        expect(page.locator("#market-rows tr")).to_have_count(stage.listed())
        button = page.locator("#market-columns .symbol button")
        button.click()
        expect(page.locator("th.symbol[aria-sort=ascending]")).to_have_count(1)
        names = [name.lower() for name in symbols_shown(page)]
        assert names == sorted(names)
        button.click()
        expect(page.locator("th.symbol[aria-sort=descending]")).to_have_count(1)
        wait_until("the order is the other one", lambda: [s.lower() for s in symbols_shown(page)] == names[::-1])


def test_the_list_has_every_column(browser: Browser, stage: Stage) -> None:
    with opened(browser, stage.url) as page:
        row = page.locator("#market-rows tr", has=page.locator(f"a[href='#/{SYMBOL}']"))
        expect(row.locator(".state")).to_have_text("LIVE")
        for column in ("price", "change", "volume", "funding", "interest"):
            expect(row.locator(f".{column}")).to_have_text(re.compile(r"\d"))


# ---- charts


def colours(canvas: Locator) -> int:
    """Number of different colours in a canvas."""
    return int(
        canvas.evaluate(
            """canvas => new Set(new Uint32Array(
            canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
        )
    )


def test_the_charts_are_drawn(browser: Browser, stage: Stage) -> None:
    with opened(browser, stage.url) as page:
        open_market(page)
        expect(page.locator("#candle-legend")).to_have_text(re.compile(r"^O [\d,.]+\s+H .* V "))
        wait_until("candles are drawn", lambda: colours(page.locator("#candle-chart canvas").first) > 5)
        wait_until("the depth is drawn", lambda: colours(page.locator("#depth-chart")) > 5)
        wait_until("mark against index is drawn", lambda: colours(page.locator("#basis-chart")) > 2)
        page.get_by_role("button", name="5m", exact=True).click()
        expect(page.locator("#candle-legend")).to_have_text(re.compile(r"^O [\d,.]+"))


# ---- faults


def test_an_exchange_outage_makes_the_book_visibly_stale(browser: Browser, stage: Stage) -> None:
    exchange = stage.plant.exchange
    with opened(browser, stage.url) as page:
        open_market(page)
        exchange.order("refuse", on="ws", seconds=CUT_SECONDS)
        exchange.order("cut")
        expect(page.locator("#book-status")).to_have_text("STALE")
        expect(page.locator("#book-reason")).to_have_text(re.compile(r"This book is STALE: \w.{10,}"))
        expect(page.locator("#book-reason")).to_be_visible()
        assert page.locator("#levels").evaluate("e => getComputedStyle(e).filter") == "grayscale(1)"
        row = page.locator("#market-rows tr", has=page.locator(f"a[href='#/{SYMBOL}']"))
        expect(row.locator(".state")).to_have_text("STALE")
        expect(page.locator("#book-status")).to_have_text("LIVE")
        expect(page.locator("#market[data-stale]")).to_have_count(0)
        expect(page.locator("#book-reason")).to_be_hidden()
        wait_for_a_newer_book(page)


def test_the_page_recovers_from_a_killed_gateway(browser: Browser, stage: Stage) -> None:
    port = free_port()
    gateway = start_gateway(stage.plant, port)
    with opened(browser, f"http://127.0.0.1:{port}") as page:
        open_market(page)
        gateway.kill()
        expect(page.locator("html[data-offline]")).to_have_count(1)
        expect(page.locator("#offline")).to_be_visible()
        expect(page.locator("#connection-word")).to_have_text("Not connected")
        expect(page.locator("#book-status")).to_have_text("UNKNOWN")
        expect(page.locator("#market-rows .chip", has_text="LIVE")).to_have_count(0)
        assert page.locator(".ladder").evaluate("e => getComputedStyle(e).filter") == "grayscale(1)"
        start_gateway(stage.plant, port)
        expect(page.locator("html[data-offline]")).to_have_count(0)
        expect(page.locator("#book-status")).to_have_text("LIVE")
        wait_for_a_newer_book(page)


def test_a_lost_message_costs_only_a_new_snapshot(browser: Browser, stage: Stage) -> None:
    """The socket's messages pass through the test, which drops one."""
    dropped: list[str] = []
    with opened(browser, "about:blank") as page:

        def between(socket: Any) -> None:
            server = socket.connect_to_server()

            def pass_on(message: str | bytes) -> None:
                known = json.loads(message)
                is_update = known["type"] == "update" and known.get("channel") == "book"
                if is_update and known["data"]["bids"] and not dropped:
                    dropped.append(str(known["sequence"]))
                    return
                socket.send(message)

            server.on_message(pass_on)

        page.route_web_socket(re.compile("/v1/stream"), between)
        page.goto(stage.url)
        open_market(page)
        wait_until("a message is dropped", lambda: update_id(page) > 0 and bool(dropped))
        wait_until("the book goes on", lambda: update_id(page) > int(dropped[0]))
        at, shown = shown_book(page)
    truth = stage.plant.exchange.ask(f"/books/{SYMBOL}?at={at}")
    assert shown["bids"] == [[plain_number(each) for each in level] for level in truth["bids"][: len(shown["bids"])]]


# ---- the plant


def test_the_page_shows_the_plant(browser: Browser, stage: Stage) -> None:
    with opened(browser, f"{stage.url}/#/plant") as page:
        for name in ("market-producer", "perp-producer"):
            expect(page.locator("#producers", has_text=name)).to_be_visible()
        expect(page.locator("#topics tr", has_text="market.depth").first).to_be_visible()
        expect(page.locator("#hops li[data-tone=good]")).to_have_count(5)
        expect(page.locator("#book-counts dd").first).to_have_text(str(MARKETS))


# ---- keys


def test_the_page_asks_for_a_key_and_keeps_it_out_of_urls(browser: Browser, stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    add = [*PROGRAM, "keys", "add", "page", "--keys-file", str(file), "--tier", "mega", "--json"]
    key = json.loads(subprocess.run(add, capture_output=True, check=True, text=True).stdout)["key"]
    port = free_port()
    start_gateway(stage.plant, port, "--keys-file", str(file))
    with opened(browser, "about:blank") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{port}")
        field = page.get_by_label("API key")
        field.fill("not-the-key")
        field.press("Enter")
        expect(page.locator("#key-wrong")).to_be_visible()
        field.fill(key)
        field.press("Enter")
        expect(page.locator("#key-dialog")).to_be_hidden()
        expect(page.locator("#market-rows tr")).to_have_count(stage.listed())
        open_market(page)
        assert not [url for url in asked if key in url]
        assert page.evaluate("Object.values(sessionStorage)") == [key]
        assert key not in page.evaluate("JSON.stringify(localStorage)")


# ---- accessibility and theme


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["#/", f"#/{SYMBOL}", "#/plant"])
def test_axe_finds_no_serious_problem(browser: Browser, stage: Stage, place: str, scheme: str) -> None:
    with opened(browser, f"{stage.url}/{place}", color_scheme=scheme) as page:
        expect(page.locator("#connection[data-state=up]")).to_be_visible()
        expect(page.locator("#market-rows tr")).to_have_count(stage.listed())
        found = problems(page)
    assert found == []


def test_axe_finds_no_serious_problem_on_a_phone_without_a_gateway(browser: Browser, stage: Stage) -> None:
    port = free_port()
    gateway = start_gateway(stage.plant, port)
    phone: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    with opened(browser, f"http://127.0.0.1:{port}", **phone) as page:
        open_market(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        gateway.kill()
        expect(page.locator("html[data-offline]")).to_have_count(1)
        assert problems(page) == []


def problems(page: Page) -> list[str]:
    """The problems that axe-core calls serious or critical, with the elements."""
    page.evaluate(gzip.decompress(AXE.read_bytes()).decode())
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{each['id']}: {[node['target'] for node in each['nodes']][:5]}" for each in found if each["impact"] in SERIOUS
    ]


def test_the_theme_switch_overrides_the_system_and_is_kept(browser: Browser, stage: Stage) -> None:
    with opened(browser, stage.url, color_scheme="dark") as page:
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.get_by_role("button", name="Light").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
