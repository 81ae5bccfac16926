"""The exchange's public REST API over a venue: the answers of each path, with their quirks and errors."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from backpack_sandbox.catalogues import STEP_SECONDS, Catalogues
from backpack_sandbox.decimals import trimmed
from backpack_sandbox.faults import FaultBox
from backpack_sandbox.http_port import JSON_TYPE, CutConnection, JsonResponse, answer_like, target_of
from backpack_sandbox.listings import DEFAULT_MARKET_TYPES, KNOWN_MARKET_TYPES, Listing
from backpack_sandbox.market_answers import MarketAnswers
from backpack_sandbox.settings import SandboxSettings
from backpack_sandbox.streams import KLINE_INTERVALS
from backpack_sandbox.venue import Venue

DEPTH_LIMITS = ("5", "10", "20", "50", "100", "500", "1000")
_HISTORICAL = frozenset({"/api/v1/klines", "/api/v1/fundingRates", "/api/v1/trades/history"})
_CACHED = frozenset({"/api/v1/markets", "/api/v1/tickers", "/api/v1/markPrices"})
_CACHE_CONTROL = {
    "/api/v1/markets": "public, s-maxage=300, stale-while-revalidate=600",
    "/api/v1/tickers": "public, s-maxage=1",
    "/api/v1/markPrices": "public, s-maxage=1, stale-if-error=3600",
}
_DEEPEST_TRADE = 10_000
_MINUTE_US = 60_000_000


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def invalid_symbol() -> RefusedError:
    """Return the error for a symbol that does not exist."""
    return RefusedError(JsonResponse({"code": "INVALID_CLIENT_REQUEST", "message": "Invalid market symbol"}, 400))


def not_found() -> RefusedError:
    """Return the error for the depth of a closed market."""
    return RefusedError(JsonResponse({"code": "RESOURCE_NOT_FOUND", "message": "Resource not found"}, 404))


def bad_parameter(name: str, why: str) -> RefusedError:
    """Return the error for a parameter that does not parse: plain text."""
    return RefusedError(PlainTextResponse(f"failed to parse parameter `{name}`: {why}", 400))


class RateLimit:
    """At most `limit` requests in any minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: deque[int] = deque()

    def takes(self, now_us: int) -> bool:
        """Count a request and return True, unless it exceeds the limit. `now_us` is the wall clock, µs."""
        while self._times and self._times[0] <= now_us - _MINUTE_US:
            self._times.popleft()
        if len(self._times) >= self._limit:
            return False
        self._times.append(now_us)
        return True


class RestApi:
    """Answers requests. `now_us` is the wall clock in µs; `on_snapshot` takes the symbol of each requested book."""

    def __init__(
        self,
        venue: Venue,
        faults: FaultBox,
        settings: SandboxSettings,
        now_us: Callable[[], int],
        on_snapshot: Callable[[str], None],
    ) -> None:
        self._on_snapshot = on_snapshot
        self._venue = venue
        self._faults = faults
        self._settings = settings
        self._now_us = now_us
        self._catalogues = Catalogues(venue, settings.seed, settings.catalogue_round_seconds, now_us)
        self._general = RateLimit(settings.requests_per_minute)
        self._historical = RateLimit(settings.historical_requests_per_minute)
        self._cache: dict[str, tuple[int, Response]] = {}
        self._market_answers = MarketAnswers(faults, now_us)
        self.requests = 0
        self._routes: dict[str, Callable[[Request], Response]] = {
            "/api/v1/status": lambda _: JsonResponse(self._catalogues.status()),
            "/api/v1/ping": lambda _: PlainTextResponse("pong"),
            "/api/v1/time": lambda _: PlainTextResponse(str(self._exchange_us() // 1000)),
            "/api/v1/markets": self._markets,
            "/api/v1/market": lambda request: JsonResponse(self._listing(request).row()),
            "/api/v1/assets": self._assets,
            "/api/v1/collateral": lambda _: JsonResponse(self._catalogues.collateral()),
            "/api/v1/borrowLend/markets": lambda _: JsonResponse(self._catalogues.lending_markets()),
            "/api/v1/borrowLend/markets/history": self._lending_history,
            "/api/v1/borrowLend/apy": lambda _: JsonResponse(self._catalogues.apy()),
            "/api/v1/prediction": self._events,
            "/api/v1/prediction/tags": lambda _: JsonResponse(self._catalogues.tags()),
            "/api/v1/market-sessions": lambda _: JsonResponse(self._catalogues.sessions()),
            "/api/v1/securities": lambda _: JsonResponse(self._catalogues.securities()),
            "/api/v1/vaults": lambda _: JsonResponse(self._catalogues.vaults()),
            "/api/v1/vaults/history": self._vault_history,
            "/api/v1/wallets": lambda _: JsonResponse(self._catalogues.wallets()),
            "/api/v1/depth": self._depth,
            "/api/v1/ticker": self._ticker,
            "/api/v1/tickers": self._tickers,
            "/api/v1/markPrices": self._mark_prices,
            "/api/v1/openInterest": self._open_interest,
            "/api/v1/fundingRates": self._funding_rates,
            "/api/v1/klines": self._klines,
            "/api/v1/trades": self._trades,
            "/api/v1/trades/history": self._trades_history,
        }

    async def handle(self, request: Request) -> Response:
        """Answer one request, with the delays and errors of the active faults."""
        self.requests += 1
        now_us, path, symbol = self._now_us(), request.scope["path"], request.query_params.get("symbol")
        slow = self._faults.take("rest-slow", now_us, symbol, path)
        if slow is not None:
            await asyncio.sleep(slow.number_of("delay", slow.number_of("seconds", 1.0)))
        if self._faults.take("rest-cut", now_us, symbol, path) is not None:
            return CutConnection()
        broken = self._faults.take("rest-5xx", now_us, symbol, path)
        if broken is not None:
            return PlainTextResponse("upstream connect error", int(broken.number_of("status", 503)))
        limited = self._faults.take("rest-limit", now_us, symbol, path)
        if limited is not None:
            wait = {"retry-after": str(int(limited.number_of("retry_after", 5)))}
            return PlainTextResponse("Too many requests", int(limited.number_of("status", 429)), wait)
        if request.method != "GET":
            return PlainTextResponse("method not allowed", 405)
        if not self._general.takes(now_us):
            return PlainTextResponse("Too many requests", 429)
        if path in _HISTORICAL and not self._historical.takes(now_us):
            return PlainTextResponse("Too many requests", 429)
        route = self._routes.get(path)
        recorded = self._venue.recorded_body(target_of(request))
        if recorded is not None:
            return Response(recorded, media_type=JSON_TYPE)
        if route is None:
            return PlainTextResponse("not found", 404)
        try:
            response = self._cached(request, route) if path in _CACHED else route(request)
        except RefusedError as refused:
            return refused.response
        return self._market_answers.altered(request, response) if path == "/api/v1/markets" else response

    def _exchange_us(self) -> int:
        now_us = self._now_us()
        return now_us + self._faults.clock_offset_us(now_us)

    def _cached(self, request: Request, route: Callable[[Request], Response]) -> Response:
        now_us, path, target = self._now_us(), request.scope["path"], target_of(request)
        stale = self._faults.take("rest-stale", now_us, None, path)
        kept = self._cache.get(target)
        if kept is None or (stale is None and now_us - kept[0] >= self._settings.cache_seconds * 1_000_000):
            kept = self._cache[target] = (now_us, route(request))
        age = (now_us - kept[0]) // 1_000_000
        if stale is not None:
            age += int(stale.number_of("age", 3600))
        return answer_like(kept[1], {"age": str(age), "cache-control": _CACHE_CONTROL[path]})

    def _listing(self, request: Request) -> Listing:
        symbol = request.query_params.get("symbol")
        if symbol is None:
            raise bad_parameter("symbol", 'the type "string" is required')
        listing = self._venue.listing(symbol)
        if listing is None:
            raise invalid_symbol()
        return listing

    @staticmethod
    def _integer(request: Request, name: str, default: int | None = None) -> int:
        text = request.query_params.get(name)
        if text is None and default is not None:
            return default
        try:
            value = int(text or "")
        except ValueError:
            raise bad_parameter(name, 'failed to parse "integer": invalid digit found in string') from None
        if value < 0:
            raise bad_parameter(name, 'failed to parse "integer": invalid digit found in string')
        return value

    def _typed(self, request: Request, default: frozenset[str]) -> list[Listing]:
        """Return the listings of the requested market types."""
        types = frozenset(request.query_params.getlist("marketType")) or default
        if types - KNOWN_MARKET_TYPES:
            raise bad_parameter("marketType", 'failed to parse "MarketType": Expect a valid enumeration value.')
        return [listing for listing in self._venue.listings() if listing.market_type in types]

    def _markets(self, request: Request) -> Response:
        return JsonResponse([listing.row() for listing in self._typed(request, DEFAULT_MARKET_TYPES)])

    def _assets(self, request: Request) -> Response:
        bases = dict.fromkeys(listing.base for listing in self._venue.listings())
        return JsonResponse([_asset(base) for base in [*bases, "USDC"]])

    @staticmethod
    def _interval(request: Request) -> str:
        interval = request.query_params.get("interval")
        if interval is None:
            raise bad_parameter("interval", 'Type "string" expects an input value.')
        if interval not in STEP_SECONDS:
            raise bad_parameter("interval", 'failed to parse "string": Expect a valid enumeration value.')
        return interval

    def _lending_history(self, request: Request) -> Response:
        interval, symbol, assets = (
            self._interval(request),
            request.query_params.get("symbol"),
            self._catalogues.assets(),
        )
        if symbol is not None and symbol not in assets:
            raise invalid_symbol()
        return JsonResponse(self._catalogues.lending_history(assets if symbol is None else [symbol], interval))

    def _vault_history(self, request: Request) -> Response:
        vault = None if request.query_params.get("vaultId") is None else self._integer(request, "vaultId")
        return JsonResponse(self._catalogues.vault_history(self._interval(request), vault))

    def _events(self, request: Request) -> Response:
        limit, offset = min(self._integer(request, "limit", 100), 1000), self._integer(request, "offset", 0)
        rows = self._catalogues.events()
        for name, field in (("eventSlug", "slug"), ("resolved", "resolved")):
            wanted = request.query_params.get(name)
            if wanted is not None:
                rows = [row for row in rows if str(row[field]).lower() == wanted.lower()]
        return JsonResponse(rows[offset : offset + limit])

    def _depth(self, request: Request) -> Response:
        limit = request.query_params.get("limit") or "1000"
        if limit not in DEPTH_LIMITS:
            raise bad_parameter("limit", 'failed to parse "DepthLimit": Expect a valid enumeration value.')
        listing = self._listing(request)
        self._on_snapshot(listing.symbol)
        now_us = self._now_us()
        late = self._faults.take("snapshot-behind", now_us, listing.symbol)
        book = self._venue.book(listing.symbol, int(late.number_of("updates", 50)) if late else 0)
        if listing.state == "Closed" or book is None:
            raise not_found()
        body = book.depth_body(int(limit))
        if self._faults.take("crossed-snapshot", now_us, listing.symbol) and body["asks"]:
            body["bids"] = [*body["bids"], [_above(body["asks"][0][0]), "1"]]
        return JsonResponse(body)

    @staticmethod
    def _ticker_interval(request: Request) -> str:
        interval = request.query_params.get("interval") or "1d"
        if interval not in ("1d", "1w"):
            raise bad_parameter("interval", 'failed to parse "TickerInterval": Expect a valid enumeration value.')
        return interval

    def _ticker(self, request: Request) -> Response:
        row = self._venue.ticker(self._listing(request).symbol, self._ticker_interval(request))
        return JsonResponse(row) if row is not None and row["trades"] != "0" else Response(status_code=204)

    def _tickers(self, request: Request) -> Response:
        interval = self._ticker_interval(request)
        rows = [self._venue.ticker(listing.symbol, interval) for listing in self._typed(request, DEFAULT_MARKET_TYPES)]
        return JsonResponse([row for row in rows if row is not None])

    def _mark_prices(self, request: Request) -> Response:
        return self._one_or_all(request, self._venue.mark_price, frozenset({"PERP"}))

    def _open_interest(self, request: Request) -> Response:
        return self._one_or_all(request, self._venue.open_interest, KNOWN_MARKET_TYPES)

    def _one_or_all(
        self, request: Request, ask: Callable[[str, int], dict[str, Any] | None], default: frozenset[str]
    ) -> Response:
        listings = (
            self._typed(request, default) if request.query_params.get("symbol") is None else [self._listing(request)]
        )
        rows = [ask(listing.symbol, self._now_us()) for listing in listings]
        return JsonResponse([row for row in rows if row is not None])

    def _funding_rates(self, request: Request) -> Response:
        listing = self._listing(request)
        offset, limit = self._integer(request, "offset", 0), min(self._integer(request, "limit", 100), 10_000)
        rows, total = self._venue.funding_rates(listing.symbol, offset, limit, self._now_us())
        size = max(1, limit)
        pages = {
            "x-page-count": -(-total // size),
            "x-current-page": offset // size,
            "x-page-size": limit,
            "x-total": total,
        }
        return JsonResponse(rows, headers={name: str(value) for name, value in pages.items()})

    def _klines(self, request: Request) -> Response:
        interval = request.query_params.get("interval")
        if interval not in KLINE_INTERVALS:
            raise bad_parameter("interval", 'failed to parse "KlineInterval": Expect a valid enumeration value.')
        start, now_us = self._integer(request, "startTime"), self._now_us()
        end = self._integer(request, "endTime", now_us // 1_000_000)
        return JsonResponse(self._venue.klines(self._listing(request).symbol, interval, start, end, now_us))

    def _trades(self, request: Request) -> Response:
        symbol = self._listing(request).symbol
        return JsonResponse(self._venue.trades(symbol, 0, min(self._integer(request, "limit", 100), 1000)))

    def _trades_history(self, request: Request) -> Response:
        symbol = self._listing(request).symbol
        limit, offset = min(self._integer(request, "limit", 100), 1000), self._integer(request, "offset", 0)
        if limit + offset > _DEEPEST_TRADE:
            message = f"offset + limit must not exceed {_DEEPEST_TRADE}"
            raise RefusedError(JsonResponse({"code": "INVALID_CLIENT_REQUEST", "message": message}, 400))
        return JsonResponse(self._venue.trades(symbol, offset, limit))


def _above(price: str) -> str:
    """Return the price one unit of the last place higher."""
    whole, _, fraction = price.partition(".")
    return trimmed(int(whole + fraction) + 1, len(fraction))


def _asset(symbol: str) -> dict[str, Any]:
    token = {
        "displayName": symbol,
        "blockchain": "Solana",
        "contractAddress": None,
        "depositEnabled": True,
        "minimumDeposit": "0.01",
        "withdrawEnabled": True,
        "minimumWithdrawal": "0.02",
        "maximumWithdrawal": None,
        "withdrawalFee": "0.001",
        "nativeDecimals": 9,
    }
    return {"symbol": symbol, "displayName": symbol, "coingeckoId": None, "tokens": [token]}
