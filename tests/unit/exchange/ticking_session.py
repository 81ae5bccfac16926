"""A session with a periodic stream, whose servers a test can stop and restart."""

from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation
from unit.exchange.session_driver import Driver, ServerSide, requests, started

TICKER, DEPTH, TRADE = "ticker.X", "depth.X", "trade.X"
BY_THE_CLOCK = Expectation(30, 60)
STREAMS = {DEPTH: Expectation(None, 60), TICKER: BY_THE_CLOCK, TRADE: MAY_STAY_QUIET}


def fresh(streams: dict[str, Expectation], *, ignores: bool = False, **numbers: float) -> Driver:
    """A session whose first socket is open; its server may ignore requests, and tickers come once a second."""
    driver = started(**numbers)
    driver.want(streams)
    driver.checks_silence = True
    driver.ticking = {name for name in streams if name.startswith("ticker")}
    driver.make_server = lambda: ServerSide(ignores=ignores)
    driver.accept()
    driver.make_server = ServerSide
    return driver


def deafen(driver: Driver) -> None:
    for server in driver.servers.values():
        server.deaf = set(driver.wanted)


def recover(driver: Driver) -> None:
    for server in driver.servers.values():
        server.deaf, server.ignores = set(), False


def subscribed(driver: Driver, mark: int) -> list[str]:
    return [name for method, names in requests(driver.log[mark:]) if method == "SUBSCRIBE" for name in names]
