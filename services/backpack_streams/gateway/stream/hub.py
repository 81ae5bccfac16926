"""All streams of the gateway: receives changes of the read model, and notifies the clients that follow them. Sans I/O, without a clock."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.changes import BOOK, MARKETS, Change
from backpack_streams.gateway.errors import RequestError, UnavailableError
from backpack_streams.gateway.json_text import Decimals
from backpack_streams.gateway.market_data import BookStatus
from backpack_streams.gateway.stream.book_view import BookView
from backpack_streams.gateway.stream.client import StreamClient
from backpack_streams.gateway.stream.messages import Message, subscribed
from backpack_streams.gateway.stream.record_log import RecordLog
from backpack_streams.gateway.stream.requests import ALL, Key, StreamRequest
from backpack_streams.gateway.stream.subscriptions import BookSubscription, RecordSubscription, Source
from backpack_streams.gateway.windows import Entry

__all__ = ["Hub", "StreamSource"]

_ViewKey = tuple[int, Decimals]
RESTING_VIEWS: Final = 500
"""Maximum number of views kept without followers; a client that returns can resume from one of them."""


class StreamSource(Source, Protocol):
    """The part of the read model that the hub needs."""

    def markets(self) -> Mapping[str, Row]:
        """Return the market list by symbol."""

    def check_symbol(self, symbol: str) -> None:
        """Check that a market exists.

        Raises:
            UnknownSymbolError: there is no such market.
            UnavailableError: the market list is not known yet.
        """

    def sequence(self, channel: str, symbol: str) -> int:
        """Return the highest sequence of a channel of a market so far; -1 if there is none."""

    def after(self, channel: str, symbol: str, sequence: int) -> list[Entry] | None:
        """Return the rows after a sequence, in order; None if some may be missing, or if the sequence was not reached yet."""

    def book_status(self, symbol: str) -> BookStatus:
        """Return the status of a book, with its age."""

    def unavailable(self) -> str:
        """Return why Kafka cannot be read now; empty while it can."""


class Hub:
    """The views and logs that clients share, and which client follows which of them.

    Attributes:
        clients: all clients, those without subscriptions included.
    """

    def __init__(self, source: StreamSource, on_news: Callable[[StreamClient], None]) -> None:
        """Start without clients.

        Args:
            source: the read model.
            on_news: called with each client that has something new to be sent; it may be called repeatedly for one client.
        """
        self._source = source
        self._on_news = on_news
        self.clients: set[StreamClient] = set()
        self._views: dict[str, dict[_ViewKey, BookView]] = {}
        self._resting: OrderedDict[tuple[str, _ViewKey], BookView] = OrderedDict()
        self._logs: dict[Key, RecordLog] = {}
        self._followers: dict[BookView | RecordLog, set[StreamClient]] = {}
        self._changed_books: set[str] = set()

    @property
    def has_changed_books(self) -> bool:
        """Whether a followed book has changed since the last `refresh_books`."""
        return bool(self._changed_books)

    def join(self, client: StreamClient) -> None:
        """Add a client. It gets heartbeats after its first request."""
        self.clients.add(client)

    def leave(self, client: StreamClient) -> None:
        """Remove a client with all its subscriptions. May be called more than once."""
        self.clients.discard(client)
        for key in list(client.subscriptions):
            self._unsubscribe(client, key)

    def apply(self, client: StreamClient, request: StreamRequest) -> None:
        """Carry out a request, and queue its answer for the client.

        Args:
            client: the client.
            request: its request.

        Raises:
            UnknownSymbolError: it names a market that does not exist; then nothing is changed.
            UnavailableError: there is no market list yet, or it resumes while Kafka cannot be read.
        """
        symbols = self._symbols(request)
        if request.resume and (why := self._source.unavailable()):
            text = f"nothing can be resumed for now: {why}; ask again, or subscribe without resume"
            raise UnavailableError(text, retry_after_seconds=1)
        for channel in request.channels:
            if request.op == "unsubscribe":
                self._drop_channel(client, channel, request)
                continue
            if request.symbols == ALL:
                client.channels_of_all[channel] = request.depth, request.decimals
            for symbol in symbols:
                resume = request.resume.get(f"{channel}.{symbol}")
                self._subscribe(client, (channel, symbol), request.depth, request.decimals, resume)
        client.has_asked = True
        client.say(subscribed(request.id, request.op, request.channels, request.symbols))
        self._on_news(client)

    def on_change(self, change: Change) -> None:
        """Process a change of the read model: of a record at once, of a book with the next `refresh_books`.

        Args:
            change: the change. One of the market list adds a new market for clients that follow all markets.
        """
        if change.channel == BOOK:
            if change.symbol in self._views:
                self._changed_books.add(change.symbol)
            return
        if change.channel == MARKETS:
            self._on_market(change)
            return
        key = change.channel, change.symbol
        log = self._logs.get(key)
        if log is not None and change.row is not None:
            log.append(change.sequence, change.row)
            self._tell_followers(log, key)

    def notice_statuses(self) -> None:
        """Mark followed books whose status has changed without an update: a book also becomes STALE by age."""
        for symbol, views in self._views.items():
            now = self._source.book_status(symbol)
            if any(view.status != (now.status, now.reason) for view in views.values()):
                self._changed_books.add(symbol)

    def refresh_books(self) -> None:
        """Compare each marked book with what its views last had, once for all clients, and notify the clients of those that differ."""
        changed, self._changed_books = self._changed_books, set()
        for symbol in changed:
            for view in self._views.get(symbol, {}).values():
                if self._refresh(view):
                    self._tell_followers(view, (BOOK, symbol))

    def beat(self, heartbeat: Message) -> None:
        """Queue a heartbeat for every client with a request, behind everything that is pending for it.

        Args:
            heartbeat: the message, which all clients share.
        """
        for client in self.clients:
            if client.has_asked:
                client.beat(heartbeat)
                self._on_news(client)

    def _symbols(self, request: StreamRequest) -> list[str]:
        if request.symbols == ALL:
            symbols = list(self._source.markets())
            if not symbols and request.op == "subscribe":
                self._source.check_symbol(ALL)
            return symbols
        if request.op == "subscribe":
            for symbol in request.symbols:
                self._source.check_symbol(symbol)
        return list(dict.fromkeys(request.symbols))

    def _subscribe(self, client: StreamClient, key: Key, depth: int, decimals: Decimals, resume: int | None) -> None:
        self._unsubscribe(client, key)
        channel, symbol = key
        if channel == BOOK:
            view = self._view(symbol, depth, decimals)
            self._followers.setdefault(view, set()).add(client)
            client.add(key, BookSubscription(view, resume))
        else:
            log = self._log(key, resume)
            self._followers.setdefault(log, set()).add(client)
            client.add(key, RecordSubscription(log, channel, symbol, decimals, resume))

    def _unsubscribe(self, client: StreamClient, key: Key) -> None:
        subscription = client.remove(key)
        if subscription is None:
            return
        shared = subscription.view if isinstance(subscription, BookSubscription) else subscription.log
        followers = self._followers[shared]
        followers.discard(client)
        if not followers:
            del self._followers[shared]
            self._forget(key, shared)

    def _forget(self, key: Key, shared: BookView | RecordLog) -> None:
        """Drop a log without followers, since the read model has its rows. A view without followers is kept, to resume from."""
        if isinstance(shared, RecordLog):
            del self._logs[key]
            return
        views, view_key = self._views[shared.symbol], shared.key
        del views[view_key]
        if not views:
            del self._views[shared.symbol]
        shared.rest()
        self._resting[shared.symbol, view_key] = shared
        if len(self._resting) > RESTING_VIEWS:
            self._resting.popitem(last=False)

    def _drop_channel(self, client: StreamClient, channel: str, request: StreamRequest) -> None:
        if request.symbols == ALL:
            client.channels_of_all.pop(channel, None)
        for key in list(client.subscriptions):
            if key[0] == channel and (request.symbols == ALL or key[1] in request.symbols):
                self._unsubscribe(client, key)

    def _on_market(self, change: Change) -> None:
        """Subscribe the clients that follow all markets to a new one."""
        if change.row is None:
            return
        for client in self.clients:
            for channel, (depth, decimals) in client.channels_of_all.items():
                if (channel, change.symbol) not in client.subscriptions:
                    self._subscribe(client, (channel, change.symbol), depth, decimals, None)
                    self._on_news(client)

    def _view(self, symbol: str, depth: int, decimals: Decimals) -> BookView:
        views, key = self._views.setdefault(symbol, {}), (depth, decimals)
        view = views.get(key)
        if view is None:
            place = symbol, key
            view = self._resting.pop(place) if place in self._resting else BookView(symbol, depth, decimals)
            views[key] = view
            self._refresh(view)
        return view

    def _log(self, key: Key, resume: int | None) -> RecordLog:
        """Return the log of a channel of a market. The rows before it are read only for a client that resumes from one of them."""
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = RecordLog(*key, reached=self._source.sequence(*key))
        if resume is not None and log.lacks_rows_after(resume):
            rows = self._source.after(*key, resume)
            if rows is not None:
                log.reach_back(resume, [(entry.sequence, entry.row) for entry in rows])
        return log

    def _refresh(self, view: BookView) -> bool:
        try:
            return view.refresh(self._source.orderbook(view.symbol, view.depth))
        except RequestError:  # delisted since it was subscribed: its last state stays
            return False

    def _tell_followers(self, shared: BookView | RecordLog, key: Key) -> None:
        for client in self._followers.get(shared, ()):
            client.mark(key)
            self._on_news(client)
