"""Asks the exchange which markets and securities there are."""

import logging
import time
from collections.abc import Sequence
from http import HTTPStatus

from backpack_streams.errors import UsageError
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_decoding import Rows
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.exchange.rest_wire import Market
from backpack_streams.feed.markets import ListedMarket

logger = logging.getLogger(__name__)


class MarketList:
    """The exchange's lists, read again at each call.

    The exchange refuses the whole request when it does not know one of the kinds asked for. Then each is asked for by itself, so
    that a kind that is gone, or not there yet, costs the others nothing.
    """

    def __init__(self, rest: RestClient, market_types: Sequence[str]) -> None:
        self._rest = rest
        self._market_types = tuple(dict.fromkeys(market_types))
        self._refused: frozenset[str] = frozenset()
        self._securities: tuple[str, ...] | None = None
        self.read_at: float | None = None
        """When the markets were read last (monotonic seconds)."""

    async def markets(self) -> list[ListedMarket]:
        """Every market of the kinds asked for that can be read.

        Raises:
            RestError: no usable answer came.
            UsageError: the exchange refuses every kind asked for.
        """
        try:
            answers = [await self._rest.markets(self._market_types)]
        except RestError as error:
            if error.status != HTTPStatus.BAD_REQUEST or not self._market_types:
                raise
            answers = await self._one_by_one()
        self.read_at = time.monotonic()
        for answer in answers:
            for bad in answer.body.bad_rows:
                logger.error("a market cannot be read", extra={"reason": bad.reason, "row": repr(bad.raw[:200])})
        return [listed(row) for answer in answers for row in answer.body.rows]

    async def securities(self) -> tuple[str, ...]:
        """The assets of the securities that the exchange lists, such as `AAPL.US`; those known last while it does not answer."""
        try:
            rows = (await self._rest.rows("/api/v1/securities", (), lambda row, _: row.text("asset"))).body
        except RestError as error:
            if self._securities is None:
                logger.warning(
                    "the list of securities cannot be had; stock prices follow the markets alone",
                    extra={"error": str(error)},
                )
            self._securities = self._securities or ()
            return self._securities
        for bad in rows.bad_rows:
            logger.error("a security cannot be read", extra={"reason": bad.reason, "row": repr(bad.raw[:200])})
        self._securities = rows.rows
        return rows.rows

    async def _one_by_one(self) -> list[Answer[Rows[Market]]]:
        answers: list[Answer[Rows[Market]]] = []
        refused: dict[str, RestError] = {}
        for market_type in self._market_types:
            try:
                answers.append(await self._rest.markets([market_type]))
            except RestError as error:
                if error.status != HTTPStatus.BAD_REQUEST:
                    raise
                refused[market_type] = error
        if not answers:
            kinds = ", ".join(self._market_types)
            raise UsageError(
                f"the exchange knows no kind of market of --market-types {kinds}: {next(iter(refused.values())).message}"
            )
        for market_type in refused.keys() - self._refused:
            logger.warning(
                "the exchange does not know a kind of market; going on without it",
                extra={"market_type": market_type, "error": str(refused[market_type])},
            )
        self._refused = frozenset(refused)
        return answers


def listed(row: Market) -> ListedMarket:
    """What producers need to know of a market."""
    return ListedMarket(row.symbol, row.market_type, row.order_book_state, row.base, row.rwa_market_type)
