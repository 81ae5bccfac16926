"""Where a demo can be reached and what to try on it, in words. Sans I/O."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from backpack_streams.demo.ports import DemoPorts
from backpack_streams.embedded import DEFAULT_PORT

__all__ = ["Place"]

_FAVOURITE_SYMBOL: Final = "BTC_USDC_PERP"


@dataclass(frozen=True, slots=True)
class Place:
    """The demo as seen from outside: its addresses and its folder of logs."""

    ports: DemoPorts
    logs: str

    @property
    def sandbox(self) -> str:
        """Where the sandbox listens, as URLs."""
        return f"{self.ports.ws_url} {self.ports.rest_url} control {self.ports.control_url}"

    @property
    def exchange_in_short(self) -> str:
        """Who plays the exchange, and where, for a narrow terminal."""
        if self.ports.ws is None:
            return "the real one"
        return f"sandbox {self.ports.ws_url} {self.ports.rest_url} control :{self.ports.control}"

    def commands_to_try(self, symbols: Collection[str]) -> list[str]:
        """What to type in another terminal; a book of one of `symbols`."""
        symbol = _FAVOURITE_SYMBOL if _FAVOURITE_SYMBOL in symbols or not symbols else min(symbols)
        where = "" if self.ports.kafka == DEFAULT_PORT else f" --bootstrap-servers {self.ports.bootstrap_servers}"
        if self.ports.registry_url is not None:
            where += f" --schema-registry-url {self.ports.registry_url}"
        return [f"backpack-streams book {symbol}{where}", f"backpack-streams tail backpack.market.trade{where}"]
