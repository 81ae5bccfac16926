"""Streams with what is expected of them, and an exchange that accepts their subscriptions and delivers nothing."""

from backpack_streams.exchange.session_settings import Expectation
from unit.exchange.session_driver import Driver, ServerSide, requests

TICKER, DEPTH = "ticker.BTC_USDC_PERP", "depth.BTC_USDC_PERP"
BY_THE_CLOCK = Expectation(30, 60)
MUST_EXIST = Expectation(None, 60)


def asked(driver: Driver, mark: int, stream: str) -> list[str]:
    return [method for method, names in requests(driver.log[mark:]) if stream in names]


def deafen(driver: Driver, *streams: str) -> None:
    """From now on the exchange accepts subscriptions of these streams and delivers nothing on them, on new sockets as well."""
    for server in driver.servers.values():
        server.deaf |= set(streams)
    driver.make_server = lambda: ServerSide(deaf=set(streams))


def recover(driver: Driver) -> None:
    for server in driver.servers.values():
        server.deaf.clear()
    driver.make_server = ServerSide
