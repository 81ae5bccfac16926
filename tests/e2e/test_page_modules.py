"""Modules of the live page that need no gateway, in a real Chromium, compared with Python's decimals and dictionaries."""

import os
import random
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal, localcontext
from importlib.resources import files
from typing import Any

import pytest

pytest.importorskip("playwright", reason="the browser tests need the package playwright, which the extra dev brings")

from playwright.sync_api import Browser, Page, Route

from browser import NoBrowserError, chromium, opened, running_browser

# The first test may have to install the browser.
pytestmark = pytest.mark.timeout(1200)

HOST = "http://page.test"
ASSETS = files("backpack_streams.gateway.page") / "assets"
DICE = random.Random(16)


def serve(route: Route) -> None:
    """Serve the package's own files under an unused host name."""
    path = route.request.url.removeprefix(HOST)
    if not path.startswith("/assets/js/"):
        return route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")
    source = ASSETS.joinpath(*path.split("/")[2:]).read_text("utf-8")
    return route.fulfill(body=source, content_type="text/javascript")


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


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with opened(browser, "about:blank") as page:
        page.route("**/*", serve)
        page.goto(HOST)
        yield page


def run(page: Page, module: str, body: str, given: Any) -> Any:
    """Run `body` with the module as `m` and the argument as `given`."""
    return page.evaluate(f"async given => {{ const m = await import('/assets/js/{module}'); {body} }}", given)


def numbers(count: int) -> list[str]:
    """Decimals of all sizes, some in unusual forms that JSON allows."""
    found = ["0", "0.00000", "-0", "1e-7", "1.5E+3", "86700.0", "0.0002438565367033305404731178"]
    for _ in range(count):
        places = DICE.randrange(19)
        found.append(str(Decimal(DICE.randrange(-(10**20), 10**20)).scaleb(-places)))
    return found


def plain(value: Decimal) -> str:
    shown = format(value.normalize(), "f")
    return "0" if shown == "-0" else shown


def test_decimals_are_read_added_and_written_exactly(page: Page) -> None:
    pairs = list(zip(numbers(300), reversed(numbers(300)), strict=True))
    got = run(page, "decimal.js", "return given.map(([a, b]) => m.text(m.units(a) + m.units(b)))", pairs)
    with localcontext(prec=60):
        assert got == [plain(Decimal(a) + Decimal(b)) for a, b in pairs]


@pytest.mark.parametrize("places", [0, 1, 2, 8])
def test_rounding_is_half_away_from_zero(page: Page, places: int) -> None:
    given = [*numbers(200), "0.5", "1.5", "-0.5", "0.005", "-1.005", "2.675"]
    got = run(page, "decimal.js", f"return given.map(a => m.fixed(m.units(a), {places}))", given)
    with localcontext(prec=60):
        wanted = [Decimal(a).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP) for a in given]
        assert [Decimal(each) for each in got] == wanted


def test_text_that_is_not_a_number_is_null(page: Page) -> None:
    given = [None, "", "N/A", "1.2.3", "--1", "0x10", " 1"]
    assert run(page, "decimal.js", "return given.map(m.units)", given) == [None] * len(given)


def test_figures_keep_every_digit_and_group_thousands(page: Page) -> None:
    got = run(
        page,
        "figures.js",
        "return given.map(([a, p]) => m.price(a, p))",
        [["86700", 1], ["1234567.891", 2], ["-0.5", 0], [None, 2]],
    )
    assert got == ["86,700.0", "1,234,567.891", "−0.5", "–"]
    got = run(
        page, "figures.js", "return given.map(m.compact)", ["999.999", "1234.5", "2500000", "0.00001234", "7e12", "0"]
    )
    assert got == ["1,000", "1.23K", "2.50M", "0.000012", "7.00T", "0"]


# ---- books


def changes(book: dict[str, dict[Decimal, str]]) -> dict[str, list[list[str]]]:
    """Levels to set or delete; prices in several forms."""
    update: dict[str, list[list[str]]] = {"bids": [], "asks": []}
    for side, levels in book.items():
        for _ in range(DICE.randrange(4)):
            price = Decimal(DICE.randrange(50) + (100 if side == "asks" else 0)) / 2
            size = DICE.choice(["0", "0.000", str(DICE.randrange(1, 999)), f"0.{DICE.randrange(1, 999):03}"])
            update[side].append([DICE.choice([str(price), f"{price}00"]) if "." in str(price) else str(price), size])
            levels[price] = size
            if not Decimal(size):
                del levels[price]
    return update


def test_a_book_updated_in_sequence_equals_a_dictionary(page: Page) -> None:
    truth: dict[str, dict[Decimal, str]] = {"bids": {}, "asks": {}}
    updates = [changes(truth) for _ in range(400)]
    body = """
        const book = new m.Book("X");
        book.snapshot(1000, { bids: [], asks: [], book_status: "LIVE" });
        const done = given.map((data, i) => book.update(1001 + i, 1000 + i, data));
        const side = levels => levels.map(({ price, size }) => [price, size]);
        return [[...new Set(done)], side(book.bids.levels), side(book.asks.levels)];
    """
    done, bids, asks = run(page, "book.js", body, updates)
    assert done == ["applied"]
    for shown, levels, is_bid in ((bids, truth["bids"], True), (asks, truth["asks"], False)):
        wanted = sorted(levels.items(), reverse=is_bid)
        assert [(Decimal(price), size) for price, size in shown] == wanted


def test_an_update_out_of_sequence_changes_nothing(page: Page) -> None:
    body = """
        const book = new m.Book("X");
        const before = book.update(2, 1, { bids: [["1", "1"]] });
        book.snapshot(10, { bids: [["5", "1"]], asks: [] });
        const answers = given.map(([s, p]) => book.update(s, p, { bids: [["5", "9"]] }));
        return [before, ...answers, book.bids.levels[0].size, book.sequence];
    """
    got = run(page, "book.js", body, [[12, 11], [10, 9], [9, 8], [11, 9]])
    assert got == ["mismatch", "mismatch", "old", "old", "mismatch", "1", "10"]


def test_a_status_change_without_levels_is_applied(page: Page) -> None:
    body = """
        const book = new m.Book("X");
        book.snapshot(10, { bids: [["5", "1"]], asks: [], book_status: "LIVE" });
        const stale = book.update(10, 10, { bids: [], asks: [], book_status: "STALE", reason: "no watermark" });
        return [stale, book.status, book.reason, book.bids.levels.length];
    """
    assert run(page, "book.js", body, None) == ["applied", "STALE", "no watermark", 1]


# ---- frames and waits


def test_a_thousand_changes_between_two_frames_are_painted_once(page: Page) -> None:
    body = """
        let painted = 0;
        const paint = () => { painted += 1; };
        for (let i = 0; i < 1000; i += 1) m.inNextFrame(paint);
        const before = painted;
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        return [before, painted];
    """
    assert run(page, "frame.js", body, None) == [0, 1]


def test_unchanged_values_are_not_written_to_the_page(page: Page) -> None:
    body = """
        const element = document.body.appendChild(m.make("p", "", "1"));
        const seen = [];
        const options = { childList: true, characterData: true, subtree: true, attributes: true };
        const observer = new MutationObserver(list => seen.push(...list));
        observer.observe(element, options);
        m.setText(element, "1"); m.setData(element, "tone", "up"); m.setText(element, "1"); m.setData(element, "tone", "up");
        return observer.takeRecords().length;
    """
    assert run(page, "dom.js", body, None) == 1


def test_waits_double_up_to_a_limit_and_restart_after_a_reset(page: Page) -> None:
    body = """
        const most = new m.BackOff(250, 8000, () => 1), least = new m.BackOff(250, 8000, () => 0);
        const waits = Array.from({ length: 7 }, () => most.next());
        least.next(); least.next(); least.reset();
        return [waits, least.next()];
    """
    assert run(page, "backoff.js", body, None) == [[250, 500, 1000, 2000, 4000, 8000, 8000], 125]


@pytest.mark.parametrize(("retry_after", "asked"), [("2500000", 1), ("1", 2)])
def test_a_refused_request_is_repeated_only_after_a_short_wait(page: Page, retry_after: str, asked: int) -> None:
    body = """
        let asked = 0;
        const refusal = () => ({ ok: false, status: 429, statusText: "", json: async () => ({ message: "used up" }),
                                 headers: new Headers({ "Retry-After": given }) });
        globalThis.fetch = async () => (++asked === 1 ? refusal() : { ok: true, json: async () => ({ data: 7 }) });
        const answer = await m.get("plant").catch(error => error.message);
        return [asked, answer];
    """
    assert run(page, "rest.js", body, retry_after) == [asked, "used up" if asked == 1 else 7]


def test_statuses_are_forgotten_while_the_plant_is_unknown(page: Page) -> None:
    body = """
        const state = new m.State();
        const status = () => state.markets.get("A").status;
        state.setMarkets([{ symbol: "A" }]);
        state.setPlant({ books: { statuses: { A: "LIVE" } } });
        const seen = [status()];
        state.setPlantError("used up"); seen.push(status());
        state.showStatuses(); seen.push(status());
        state.setPlant({ books: { statuses: { A: "LIVE" } } }); seen.push(status());
        return seen;
    """
    assert run(page, "state.js", body, None) == ["LIVE", None, None, "LIVE"]


def test_statuses_are_forgotten_while_a_hidden_tab_does_not_ask_for_them(page: Page) -> None:
    body = """
        let now = 0;
        performance.now = () => now;
        const state = new m.State();
        const after = (ms) => { now += ms; state.setHeartbeat({}); return state.markets.get("A").status; };
        state.setMarkets([{ symbol: "A" }]);
        state.setPlant({ books: { statuses: { A: "LIVE" } } });
        const seen = [after(9_000), after(2_000)];
        state.setPlant({ books: { statuses: { A: "STALE" } } });
        return [...seen, after(1_000)];
    """
    assert run(page, "state.js", body, None) == ["LIVE", None, "STALE"]
