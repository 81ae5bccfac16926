"""Requests the endpoints of the catalogue, page by page if needed, and reads the rows as records."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

from backpack_streams.bus.codec import Codec
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_decoding import Rows
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.exchange.unknown_fields import UnknownFields
from backpack_streams.rest_poller.catalogue import Endpoint, Publish, Subject
from backpack_streams.rest_poller.changes import History
from backpack_streams.rest_poller.publication import Polled, PolledRow, row_reader

logger = logging.getLogger(__name__)

PAGES_AT_MOST = 100
MOST_FIELDS = 100
"""Unknown fields counted by path and name."""


class Asker:
    """Requests endpoints and merges the pages of an answer."""

    def __init__(
        self, rest: RestClient, codec: Codec, endpoints: Iterable[Endpoint], histories: Mapping[str, History]
    ) -> None:
        """Prepare.

        Args:
            rest: the REST client.
            codec: the source of the records' schemas.
            endpoints: the endpoints that will be requested.
            histories: by topic, how far each history is published; older pages are not requested.
        """
        self._rest = rest
        self._histories = histories
        self._readers = {each: row_reader(each, codec) for each in endpoints}
        self._refused: frozenset[str] = frozenset()
        self.unknown_fields = UnknownFields(MOST_FIELDS)

    async def ask(self, endpoint: Endpoint, subject: str) -> Polled:
        """Return the complete answer for one subject.

        The exchange refuses a request for several kinds if it does not know one of them. The kinds are then requested
        one by one.

        Args:
            endpoint: the endpoint.
            subject: the symbol, empty if one request covers all.

        Raises:
            RestError: at least one page has no usable answer, or every kind was refused.
        """
        try:
            return await self._ask(endpoint, subject, endpoint.parameters)
        except RestError as error:
            if error.status != HTTPStatus.BAD_REQUEST or len(endpoint.parameters) < 2:
                raise
        return await self._one_by_one(endpoint, subject)

    async def _one_by_one(self, endpoint: Endpoint, subject: str) -> Polled:
        answers: dict[str, Polled] = {}
        refused: dict[str, RestError] = {}
        for name, value in endpoint.parameters:
            try:
                answers[value] = await self._ask(endpoint, subject, ((name, value),))
            except RestError as error:
                if error.status != HTTPStatus.BAD_REQUEST:
                    raise
                refused[value] = error
        if not answers:
            raise next(iter(refused.values()))
        for value in refused.keys() - self._refused:
            logger.warning(
                "the exchange does not know a kind; continuing without it",
                extra={"path": endpoint.path, "kind": value, "error": str(refused[value])},
            )
        self._refused = frozenset(refused)
        return Polled(
            subject,
            [row for answer in answers.values() for row in answer.rows],
            [bad for answer in answers.values() for bad in answer.bad_rows],
            received_us=min(answer.received_us for answer in answers.values()),
            age_seconds=_oldest(answer.age_seconds for answer in answers.values()),
            is_complete=all(answer.is_complete for answer in answers.values()),
            kinds=frozenset(answers),
        )

    async def _ask(self, endpoint: Endpoint, subject: str, parameters: Sequence[tuple[str, str]]) -> Polled:
        pages = [await self._page(endpoint, subject, parameters, 0)]
        while self._wants_more(endpoint, subject, pages[-1].body) and len(pages) < PAGES_AT_MOST:
            pages.append(await self._page(endpoint, subject, parameters, len(pages)))
        return Polled(
            subject,
            [row for page in pages for row in page.body.rows],
            [bad for page in pages for bad in page.body.bad_rows],
            received_us=min(page.received_time_us for page in pages),
            age_seconds=_oldest(page.age_seconds for page in pages),
            is_complete=not self._wants_more(endpoint, subject, pages[-1].body),
        )

    def _wants_more(self, endpoint: Endpoint, subject: str, page: Rows[PolledRow]) -> bool:
        """Whether there is a further page that may hold unpublished rows."""
        if not endpoint.page_rows or len(page.rows) + len(page.bad_rows) < endpoint.page_rows:
            return False
        if endpoint.publish is not Publish.ONCE_SETTLED or not page.rows:
            return True
        oldest = min(row.fields[endpoint.time_field] for row in page.rows)
        return not self._histories[endpoint.topic].reaches(endpoint.series(subject), oldest)

    async def _page(
        self, endpoint: Endpoint, subject: str, always: Sequence[tuple[str, str]], number: int
    ) -> Answer[Rows[PolledRow]]:
        parameters: list[tuple[str, str | int]] = [*always]
        if endpoint.subject is not Subject.ALL:
            parameters.append(("symbol", subject))
        if endpoint.page_rows:
            parameters += [("limit", endpoint.page_rows), ("offset", number * endpoint.page_rows)]
        answer = await self._rest.rows(
            endpoint.path,
            parameters,
            self._readers[endpoint],
            shape=endpoint.shape,
            limit_class=endpoint.limit_class,
            priority=endpoint.priority,
            symbol=subject or None,
        )
        for name, times in answer.body.unknown_fields.items():
            self.unknown_fields.count(f"{endpoint.path} {name}", times)
        return answer


def _oldest(ages_seconds: Iterable[int | None]) -> int | None:
    return max((age for age in ages_seconds if age is not None), default=None)
