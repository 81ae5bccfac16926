"""REST answers as of a moment, byte for byte; narrower questions are cut from wider answers; what is not there is refused."""

import json

from backpack_sandbox.replay.answers import Answers
from backpack_streams.recording.records import Exchange

BOOK = (
    b'{"asks":[["218.40","1.0"],["218.5","2"],["219","3"]],"bids":[["217","3"],["218.10","2"],["218.3","1"]],'
    b'"lastUpdateId":"7","timestamp":123456789012345678901234567890}'
)
MARKETS = (
    b'[{"symbol":"A_USDC","marketType":"SPOT","x":0.10000000000000000001},'
    b'{"symbol":"A_USDC_PERP","marketType":"PERP"},{"marketType":"RFQ"}]'
)


def exchange(target: str, body: bytes, at_us: int = 1000, status: int = 200, **headers: str) -> Exchange:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Exchange(at_us, at_us - 10, "GET", target, status, named, body)


def answers(*exchanges: Exchange) -> Answers:
    kept = Answers()
    for each in exchanges:
        kept.take(each)
    return kept


def test_the_same_question_gets_the_same_bytes_in_whatever_order_it_is_asked() -> None:
    kept = answers(exchange("/api/v1/depth?symbol=A_USDC&limit=1000", BOOK, content_type="application/json"))
    for target in ("/api/v1/depth?symbol=A_USDC&limit=1000", "/api/v1/depth?limit=1000&symbol=A_USDC"):
        answer = kept.answer(target, 2000)
        assert (answer.status_code, answer.body, answer.headers["content-type"]) == (200, BOOK, "application/json")
    assert kept.answer("/api/v1/depth?symbol=A_USDC", 2000).body == BOOK.replace(b"\n", b"")


def test_a_shallower_book_is_the_best_levels_with_every_digit() -> None:
    kept = answers(exchange("/api/v1/depth?symbol=A_USDC&limit=1000", BOOK))
    body = kept.answer("/api/v1/depth?symbol=A_USDC&limit=2", 2000).body
    assert b'"bids":[["218.10","2"],["218.3","1"]]' in body
    assert b'"asks":[["218.40","1.0"],["218.5","2"]]' in body
    assert b'"timestamp":123456789012345678901234567890' in body
    assert json.loads(body)["lastUpdateId"] == "7"


def test_a_narrower_list_of_markets_is_cut_row_by_row() -> None:
    kept = answers(exchange("/api/v1/markets?marketType=SPOT&marketType=PERP&marketType=RFQ", MARKETS))
    assert kept.answer("/api/v1/markets", 0).body == MARKETS.replace(b',{"marketType":"RFQ"}', b"")
    spot = kept.answer("/api/v1/markets?marketType=SPOT", 0).body
    assert spot == b'[{"symbol":"A_USDC","marketType":"SPOT","x":0.10000000000000000001}]'
    assert kept.answer("/api/v1/markets?other=1", 0).status_code == 400


def test_answers_follow_the_clock_and_the_first_counts_before_it() -> None:
    kept = Answers()
    kept.take_first(exchange("/api/v1/status", b"first"))
    kept.take_first(exchange("/api/v1/status", b"second"))
    assert kept.answer("/api/v1/status", 0).body == b"first"
    kept.take(exchange("/api/v1/status", b"second"))
    assert kept.answer("/api/v1/status", 0).body == b"second"
    kept.take(exchange("/api/v1/status", b"down", status=503))
    kept.take(exchange("/api/v1/status", b"slow down", status=429))
    assert kept.answer("/api/v1/status", 0).body == b"second"


def test_a_cached_answer_grows_older() -> None:
    kept = answers(exchange("/api/v1/tickers", b"[]", at_us=1_000_000, age="2", content_type="x", x_total="9"))
    headers = kept.answer("/api/v1/tickers", 31_500_000).headers
    assert dict(headers) == {"age": "32", "content-type": "x", "content-length": "2", "x-total": "9"}


def test_what_was_not_recorded_is_refused_as_the_exchange_refuses() -> None:
    closed = exchange("/api/v1/depth?symbol=C_USDC&limit=1000", b'{"code":"RESOURCE_NOT_FOUND"}', status=404)
    kept = answers(closed)
    assert kept.answer("/api/v1/depth?symbol=C_USDC&limit=1000", 0).status_code == 404
    assert kept.answer("/api/v1/depth?symbol=C_USDC&limit=5", 0).status_code == 404
    unknown = kept.answer("/api/v1/depth?symbol=NO_USDC&limit=5", 0)
    assert unknown.status_code == 400
    assert json.loads(unknown.body)["code"] == "INVALID_CLIENT_REQUEST"
    assert kept.answer("/api/v1/klines?symbol=C_USDC", 0).status_code == 404
    assert kept.answer("/api/v1/ping", 0).body == b"pong"
    assert kept.answer("/api/v1/time", 1_795_341_726_732_154).body == b"1795341726732"
