"""Asks the exchange for its markets and securities."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import NoReturn

from backpack_streams.errors import UsageError
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_decoding import Rows, read_security
from backpack_streams.exchange.rest_errors import RestError, RestRequest, RestUnusableAnswerError
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.exchange.rest_wire import Market
from backpack_streams.markets.known_markets import (
    IGNORED,
    KnownMarkets,
    ListAnswer,
    ListEvent,
    ListNews,
    symbol_in,
    symbol_problem,
)
from backpack_streams.markets.selection import ListedMarket

logger = logging.getLogger(__name__)

REVALIDATION_SECONDS = 1.0
"""A cache that returns an old copy fetches a new one in the background. After this time it has arrived."""
_MARKETS, _SECURITIES = "/api/v1/markets", "/api/v1/securities"
_OPEN = "Open"
_SHOWN_SYMBOLS = 20
_TOLD: Mapping[ListNews, tuple[int, str]] = {
    ListNews.ADDED: (logging.INFO, "new in the list"),
    ListNews.CLOSED: (logging.INFO, "the list says that these are closed"),
    ListNews.REOPENED: (logging.INFO, "the list says that these are open again"),
    ListNews.GONE: (logging.WARNING, "gone from the list"),
    ListNews.BAD_SYMBOL: (logging.ERROR, "a row of the list has no usable symbol"),
    ListNews.IGNORED_OLDER: (logging.INFO, "an older list was ignored"),
    ListNews.IGNORED_EMPTY: (logging.WARNING, "an empty list was ignored"),
    ListNews.MASS_REFUSED: (logging.ERROR, "many are missing from the list at once"),
}


class MarketList:
    """The exchange's lists, fetched at each call and merged into what is known.

    The exchange refuses the whole request if it does not know one of the kinds asked for. Then each kind is asked for alone, so that an
    unknown kind does not affect the others.
    """

    def __init__(self, rest: RestClient, market_types: Sequence[str]) -> None:
        """Prepare; nothing is requested yet.

        Args:
            rest: the client for the requests. The caller closes it.
            market_types: the kinds of market to ask for, such as `SPOT`, without repetitions. Empty asks for spot and
                perpetual markets.
        """
        self._rest = rest
        self._market_types = tuple(dict.fromkeys(market_types))
        self._refused: frozenset[str] = frozenset()
        self._known = KnownMarkets()
        self._known_securities = KnownMarkets()
        self._told_of_securities = False
        self.read_at: float | None = None
        """When the markets were last read from an answer that counts (monotonic seconds)."""
        self.refused_disappearances = 0
        """How often many markets were missing at once and were kept."""
        self.ignored_answers: Counter[str] = Counter(dict.fromkeys((news.value for news in IGNORED), 0))
        """Answers that changed nothing, by reason."""

    @property
    def missing_markets(self) -> int:
        """Open markets that the newest answers lack, kept until their absence is confirmed."""
        return self._known.missing

    async def markets(self) -> list[ListedMarket]:
        """Fetch the list; return every known market of the kinds asked for, merged from this answer and earlier ones.

        If an answer after the first list is a cached copy older than five minutes, the list is requested again after
        `REVALIDATION_SECONDS`.

        Raises:
            RestError: no usable answer came; what is known stays.
            UsageError: nothing is known, and the exchange refuses every kind asked for.
        """
        was_listed = self._known.is_listed
        answers = await self._ask()
        self._take(answers, is_first=not was_listed)
        if was_listed and not all(each.is_fresh for each in answers):
            await asyncio.sleep(REVALIDATION_SECONDS)
            with contextlib.suppress(RestError):  # the next call asks again
                self._take(await self._ask())
        if not self._known.is_listed:
            message = "a list without any market that can be read"
            raise RestUnusableAnswerError(RestRequest("GET", _MARKETS), message, status=HTTPStatus.OK)
        return self._known.markets

    async def securities(self) -> tuple[str, ...]:
        """Return the assets of the exchange's securities, such as `AAPL.US`, merged by the same rules.

        A `RestError` is not raised: without the list, stock prices follow the markets alone. It is logged once, if no
        list has come before.
        """
        asked_at = time.monotonic()
        try:
            answer = await self._rest.rows(_SECURITIES, (), read_security)
        except RestError as error:
            if not self._known_securities.is_listed and not self._told_of_securities:
                self._told_of_securities = True
                logger.warning(
                    "the list of securities could not be fetched; stock prices follow the markets alone",
                    extra={"error": str(error)},
                )
        else:
            for bad in answer.body.bad_rows:
                logger.error("a security cannot be read", extra={"reason": bad.reason, "row": repr(bad.raw[:200])})
            rows = [ListedMarket(security.asset, "SECURITY", _OPEN) for security in answer.body.rows]
            unreadable = [None] * len(answer.body.bad_rows)
            was_listed = self._known_securities.is_listed
            for event in self._known_securities.take(ListAnswer(rows, unreadable, answer.age_seconds, asked_at)):
                if was_listed or event.news is not ListNews.ADDED:
                    tell("securities", event)
        return tuple(security.symbol for security in self._known_securities.markets)

    async def _ask(self) -> list[ListAnswer]:
        asked_at = time.monotonic()
        try:
            return [_read(await self._rest.markets(self._market_types), asked_at, None)]
        except RestError as error:
            if error.status != HTTPStatus.BAD_REQUEST or not self._market_types:
                raise
            return await self._ask_one_by_one()

    async def _ask_one_by_one(self) -> list[ListAnswer]:
        answers: list[ListAnswer] = []
        refused: dict[str, RestError] = {}
        failed: list[RestError] = []
        for market_type in self._market_types:
            asked_at = time.monotonic()
            try:
                answers.append(_read(await self._rest.markets([market_type]), asked_at, frozenset((market_type,))))
            except RestError as error:
                if error.status == HTTPStatus.BAD_REQUEST:
                    refused[market_type] = error
                elif self._known.is_listed:
                    failed.append(error)
                    logger.warning(
                        "a kind of market is unavailable; the known markets stay",
                        extra={"market_type": market_type, "error": str(error)},
                    )
                else:
                    raise
        if not answers:
            self._raise_without_answer(refused, failed)
        for market_type in refused.keys() - self._refused:
            logger.warning(
                "the exchange does not know a kind of market; going on without it",
                extra={"market_type": market_type, "error": str(refused[market_type])},
            )
        self._refused = frozenset(refused)
        return answers

    def _raise_without_answer(self, refused: dict[str, RestError], failed: list[RestError]) -> NoReturn:
        error = next(iter((*failed, *refused.values())))
        if self._known.is_listed or failed:
            raise error
        kinds = ", ".join(self._market_types)
        raise UsageError(f"the exchange knows no kind of market of --market-types {kinds}: {error.message}")

    def _take(self, answers: Iterable[ListAnswer], *, is_first: bool = False) -> None:
        for answer in answers:
            news = set()
            for event in self._known.take(answer):
                news.add(event.news)
                if not (is_first and event.news is ListNews.ADDED):  # in the first list everything is new
                    tell("markets", event)
                if event.news in IGNORED:
                    self.ignored_answers[event.news.value] += 1
            self.refused_disappearances += ListNews.MASS_REFUSED in news
            if not news.intersection(IGNORED):
                self.read_at = time.monotonic()


def _read(answer: Answer[Rows[Market]], asked_at: float, kinds: frozenset[str] | None) -> ListAnswer:
    for bad in answer.body.bad_rows:
        logger.error("a market cannot be read", extra={"reason": bad.reason, "row": repr(bad.raw[:200])})
    rows = [listed(row) for row in answer.body.rows]
    unreadable = [symbol_in(bad.raw) for bad in answer.body.bad_rows]
    return ListAnswer(rows, unreadable, answer.age_seconds, asked_at, kinds)


def tell(list_of: str, event: ListEvent) -> None:
    """Log an event of an answer, with at most 20 symbols.

    Args:
        list_of: what the list is of: `markets` or `securities`.
        event: the event; its kind decides the level.
    """
    level, message = _TOLD[event.news]
    shown = ", ".join(event.symbols[:_SHOWN_SYMBOLS]) + (", ..." if len(event.symbols) > _SHOWN_SYMBOLS else "")
    logger.log(
        level,
        message,
        extra={"list_of": list_of, "count": len(event.symbols), "symbols": shown, "detail": event.detail},
    )


def listed(row: Market) -> ListedMarket:
    """Return what producers need of a market.

    Args:
        row: the market as the exchange's `/api/v1/markets` describes it. A base asset that cannot name a stream is left
            empty.
    """
    base = row.base if symbol_problem(row.base) is None else ""
    return ListedMarket(row.symbol, row.market_type, row.order_book_state, base, row.rwa_market_type)
