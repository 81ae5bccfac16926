"""REST answers as of a moment of the recording: the recorded bytes of the same request, else cut from a wider answer. Sans I/O."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.responses import PlainTextResponse, Response

from backpack_sandbox.http_port import JSON_TYPE, JsonResponse, answer_like
from backpack_streams.recording.records import Exchange

_MARKETS = "/api/v1/markets"
_DEPTH = "/api/v1/depth"
_DEFAULT_MARKET_TYPES = ("SPOT", "PERP")
_WEATHER = 429
"""Refusals of the recorder's own rate, and server errors, are not played: they say nothing about the market."""
_REPLAYED_HEADERS = ("age", "cache-control", "content-type")

Question = tuple[str, tuple[tuple[str, str], ...]]
"""A path and its query in sorted order, so that the client's order does not matter."""

_rows = msgspec.json.Decoder(list[msgspec.Raw])
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _MarketType(msgspec.Struct):
    kind: str = msgspec.field(name="marketType", default="")


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """An answer to a question.

    Attributes:
        at_us: when it was received, µs since the Unix epoch.
        response: what to answer; its `age` header is that of the recording.
    """

    at_us: int
    response: Response


class Answers:
    """The newest answer to each question at the current position of the playback."""

    def __init__(self) -> None:
        self._by_question: dict[Question, RecordedAnswer] = {}
        self._paths: set[str] = set()

    def take(self, exchange: Exchange) -> None:
        """Take an answer whose time has come.

        Answers to other methods than GET, 429 and 5xx are passed over.

        Args:
            exchange: a recorded request and its answer; a newer one replaces the older answer to the same question.
        """
        if exchange.method != "GET" or exchange.status >= 500 or exchange.status == _WEATHER:
            return
        question = question_of(exchange.target)
        headers = {"content-type": JSON_TYPE} | {
            name: value for name, value in exchange.headers.items() if _is_replayed(name)
        }
        response = Response(exchange.body, exchange.status, headers)
        self._by_question[question] = RecordedAnswer(exchange.at_us, response)
        self._paths.add(question[0])

    def take_first(self, exchange: Exchange) -> None:
        """Take an answer from the opening of the recording, unless the question has an answer already."""
        if question_of(exchange.target) not in self._by_question:
            self.take(exchange)

    def answer(self, target: str, now_us: int) -> Response:
        """Return the exchange's answer; 404 if nothing of the path was recorded, 400 if this query was not.

        A book of fewer levels is cut out of the recorded one of 1,000 levels, a list of markets of some types out of
        the largest.

        Args:
            target: path and query, as the client sent them.
            now_us: the recording's clock, µs since the Unix epoch; `/api/v1/time` and `age` headers follow it.
        """
        question = question_of(target)
        path, query = question
        if path == "/api/v1/time":
            return PlainTextResponse(str(now_us // 1000))
        if path == "/api/v1/ping":
            return PlainTextResponse("pong")
        kept = self._by_question.get(question)
        if kept is not None:
            return _aged(kept, now_us)
        wider = self._book(query) if path == _DEPTH else self._markets(query) if path == _MARKETS else None
        if wider is not None:
            return _aged(wider, now_us)
        if path in self._paths:
            message = "this was not recorded"
            return JsonResponse({"code": "INVALID_CLIENT_REQUEST", "message": message}, 400)
        return PlainTextResponse("not found: the path was not recorded", 404)

    def _book(self, query: tuple[tuple[str, str], ...]) -> RecordedAnswer | None:
        """Return the best levels of a deeper book. Bids are in ascending order, so the best are the last."""
        asked = dict(query)
        limit = asked.get("limit", "1000")
        kept = self._by_question.get((_DEPTH, (("limit", "1000"), ("symbol", asked.get("symbol", "")))))
        if kept is None or not limit.isdecimal() or kept.response.status_code != 200:
            return kept
        try:
            fields = _fields.decode(kept.response.body)
            bids, asks = _rows.decode(fields["bids"]), _rows.decode(fields["asks"])
        except (msgspec.DecodeError, KeyError):  # not a book after all: return it as recorded
            return kept
        count = int(limit)
        cut = fields | {"bids": _array(bids[-count:] if count else []), "asks": _array(asks[:count])}
        return RecordedAnswer(kept.at_us, answer_like(kept.response, {}, msgspec.json.encode(cut)))

    def _markets(self, query: tuple[tuple[str, str], ...]) -> RecordedAnswer | None:
        """Return the markets of some types out of the largest list that was recorded."""
        wanted = {value for name, value in query if name == "marketType"} or set(_DEFAULT_MARKET_TYPES)
        lists = [
            (len(kept.response.body), kept)
            for (path, _), kept in self._by_question.items()
            if path == _MARKETS and kept.response.status_code == 200
        ]
        if not lists or any(name != "marketType" for name, _ in query):
            return None
        kept = max(lists, key=lambda each: each[0])[1]
        try:
            rows = [
                row
                for row in _rows.decode(kept.response.body)
                if msgspec.json.decode(row, type=_MarketType).kind in wanted
            ]
        except msgspec.DecodeError:
            return None
        return RecordedAnswer(kept.at_us, answer_like(kept.response, {}, bytes(_array(rows))))


def question_of(target: str) -> Question:
    """Return the question in a path with its query.

    Args:
        target: path and query, such as `/api/v1/depth?symbol=SOL_USDC`; parameters without a value count too.
    """
    parts = urlsplit(target)
    return parts.path, tuple(sorted(parse_qsl(parts.query, keep_blank_values=True)))


def _is_replayed(header: str) -> bool:
    return header in _REPLAYED_HEADERS or header.startswith("x-")


def _array(rows: list[msgspec.Raw]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(bytes(row) for row in rows) + b"]")


def _aged(kept: RecordedAnswer, now_us: int) -> Response:
    """Return the answer with its `age` header increased by the time since it was recorded, as a cache would; unchanged without one."""
    response = kept.response
    age = response.headers.get("age", "")
    if not age.isdecimal():
        return response
    older = max(0, now_us - kept.at_us) // 1_000_000
    return answer_like(response, {"age": str(int(age) + older)})
