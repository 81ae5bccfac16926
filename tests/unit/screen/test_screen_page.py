import json

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.screen.lines import plain_text, width
from backpack_streams.screen.page import divided, headline, market_lines, summary, trouble_lines, whole
from backpack_streams.screen.view import View, as_json
from served_gateway import now_us
from shown_plant import SECOND, ShownPlant


def fitted(view: View, columns: int, lines: int, first: int = 0) -> list[str]:
    """Health and markets on a terminal of this size."""
    health, left = divided(view, len(view.rows), columns, lines)
    shown = [*health, *market_lines(view.rows, columns, left, "volume", first)]
    assert len(shown) <= lines
    assert max(map(width, shown), default=0) <= columns
    return [*map(plain_text, shown)]


def text(view: View) -> str:
    return "\n".join(map(plain_text, whole("top", view, view.rows, 160)))


def shown_line(view: View, label: str) -> str:
    [found] = [each for each in text(view).splitlines() if each.startswith(f"{label} ")]
    return found[10:]


# ---- state


def test_the_first_line_has_the_most_important_figures() -> None:
    plant = ShownPlant()
    plant.take_rates(market_depth=1200, market_trade=34)
    assert plain_text(headline("top", plant.view())).startswith("top   5 of 5 books LIVE   1,234 messages/s   ")
    plant.break_book("SOL_USDC")
    assert plain_text(headline("top", plant.view())).startswith("top   4 of 5 books LIVE")


def test_a_closed_market_does_not_count_as_a_missing_book() -> None:
    plant = ShownPlant()
    plant.books["SOL_USDC"].status = type(plant.books["SOL_USDC"].status).CLOSED
    assert plain_text(headline("top", plant.view())).startswith("top   4 of 4 books LIVE")


def test_an_unavailable_kafka_is_reported_with_the_age_of_the_figures() -> None:
    plant = ShownPlant()
    assert trouble_lines(plant.view()) == []
    plant.answered_seconds_ago = 12.5
    plant.data.set_unavailable("pulse", "Kafka at a:1 has not answered for 5 s")
    assert [plain_text(each) for each in trouble_lines(plant.view())] == [
        "Kafka has not answered for 12 s, so what follows is of then: Kafka at a:1 has not answered for 5 s"
    ]
    plant.answered_seconds_ago = None
    [never] = trouble_lines(plant.view())
    assert plain_text(never).startswith("Kafka has not answered yet: ")
    plant.answered_seconds_ago = 0.5
    assert [plain_text(each) for each in trouble_lines(plant.view())] == ["Kafka at a:1 has not answered for 5 s"]


# ---- health


def test_the_age_is_given_at_each_hop() -> None:
    plant = ShownPlant()
    plant.take_watermark(published_time=now_us() - 7 * SECOND)
    plant.take_watermark("gone", is_final=True, published_time=now_us() - 90 * SECOND)
    assert " › producers 7.0 s › Kafka 200 ms › books " in shown_line(plant.view(), "age")


def test_each_producer_line_has_its_watermark_and_its_uncovered_streams() -> None:
    plant = ShownPlant()
    plant.take_watermark("first-and-more")
    uncovered = [{"since": None, "until": None, "streams": ["depth.A", "depth.B", "depth.C"]}]
    plant.take_watermark("second", service="perp-producer", coverage=uncovered)
    plant.take_watermark("third", is_final=True, published_time=now_us() - 30 * SECOND)
    lines = [each for each in text(plant.view()).splitlines() if each.startswith("producer ")]
    assert lines[0].startswith("producer  perp-producer second  watermark 5")
    assert lines[0].endswith(", 0 streams covered, 3 not: depth.A, depth.B, …")
    assert lines[1].startswith("producer  market-producer first-an  watermark 5")
    assert lines[2] == "producer  market-producer third  ended 30 s ago"


def test_gaps_audits_messages_and_services_have_a_line_each() -> None:
    plant = ShownPlant()
    plant.take_rates(market_trade=4, market_depth=120)
    plant.take_gap()
    audit = {"symbol": "SOL_USDC", "result": "MISMATCH", "reason": "", "update_id": 5, "compared_levels": 9}
    plant.plant.take_audit(audit | {"different_levels": 1, "service": "book-builder", "audited_time": now_us()})
    plant.take_watermark(published_time=now_us() - 8 * SECOND, service="perp-producer")
    view = plant.view()
    assert shown_line(view, "messages") == "124/s   market.depth 120/s   market.trade 4/s"
    assert shown_line(view, "gaps").startswith("1 in the last hour, 0 refilled, 1 open; ")
    assert shown_line(view, "gaps").endswith(" trade.SOL_USDC DISCONNECTED, not refilled")
    assert shown_line(view, "audits").startswith("0 right, 1 wrong, 0 not comparable; ")
    assert "perp-producer silent" in shown_line(view, "services")


def test_without_data_the_page_says_so() -> None:
    plant = ShownPlant(())
    assert "no market is known yet" in text(plant.view())
    assert shown_line(plant.view(), "producers") == "none has sent a watermark yet"
    assert shown_line(plant.view(), "services") == "none was seen yet"


def test_a_search_without_a_match_says_so() -> None:
    assert [*map(plain_text, market_lines([], 80, 24, is_search=True))] == ["no market matches"]


def test_the_summary_is_one_line_if_all_is_well() -> None:
    plant = ShownPlant()
    assert len(summary("top", plant.view())) == 1
    plant.break_book("SOL_USDC")
    assert plain_text(summary("top", plant.view())[1]) == "not LIVE  1: SOL_USDC STALE: update 15 does not follow 10"


# ---- the size of the terminal


def many(markets: int, producers: int) -> ShownPlant:
    plant = ShownPlant([f"TKN{number:03d}_USDC" for number in range(markets)])
    for number in range(producers):
        plant.take_watermark(f"instance-{number}")
    return plant


def test_markets_that_do_not_fit_are_counted() -> None:
    plant = many(91, 2)
    plant.break_book("TKN000_USDC")
    lines = [plain_text(each) for each in market_lines(plant.view().rows, 80, 12, first=5)]
    assert len(lines) == 12
    assert lines[1].startswith("TKN005_USDC")
    assert lines[-1] == "6-15 of 91 markets; 80 of the others LIVE"


def test_the_end_of_the_list_fills_the_page() -> None:
    lines = [plain_text(each) for each in market_lines(many(91, 0).view().rows, 80, 12, first=500)]
    assert lines[-2].startswith("TKN090_USDC")
    assert lines[-1] == "82-91 of 91 markets; 81 of the others LIVE"


def test_producers_without_room_share_a_line() -> None:
    view = many(30, 20).view()
    lines = [each for each in fitted(view, 100, 20) if each.startswith("producer")]
    assert len(lines) == 5
    assert lines[-1].startswith("producers 16 more, 32 streams covered, oldest watermark 5")
    [all_of_them] = [each for each in fitted(view, 100, 12) if each.startswith("producer")]
    assert all_of_them.startswith("producers 20, 40 streams covered, oldest watermark 5")
    assert sum(each.startswith("producer") for each in fitted(view, 100, 90)) == 20


MANY = {(markets, producers): many(markets, producers).view() for markets in (0, 1, 7) for producers in (0, 5)}


@given(st.sampled_from([*MANY]), st.integers(1, 120), st.integers(1, 40), st.integers(0, 20))
def test_it_fits_every_terminal(amounts: tuple[int, int], columns: int, lines: int, first: int) -> None:
    shown = fitted(MANY[amounts], columns, lines, first)
    if amounts[0] and lines >= 3:
        assert columns < 4 or any(each.startswith("TKN") for each in shown)


# ---- JSON


def test_json_has_exact_decimals_as_text() -> None:
    plant = ShownPlant()
    plant.take_watermark()
    view = plant.view()
    told = json.loads(as_json(view, view.rows))
    [btc] = [each for each in told["markets"] if each["symbol"] == "BTC_USDC_PERP"]
    assert (btc["last_price"], btc["price_change_percent"], btc["quote_volume"]) == ("101", "0.01", "1000000")
    assert (btc["funding_rate"], btc["open_interest"], btc["bid"]) == ("0.000001", "2", ["99", "1"])
    assert (btc["book_status"], btc["reason"]) == ("LIVE", "")
    assert told["plant"]["producers"][0]["service"] == "market-producer"
    assert told["plant"]["books"]["LIVE"] == 5
    assert told["kafka_answered_ms"] == 200
    assert "\n" not in as_json(view, view.rows)
