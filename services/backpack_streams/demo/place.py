"""The demo's addresses, and commands to try on it, as text. Sans I/O."""

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
        """The sandbox's URLs."""
        return f"{self.ports.ws_url} {self.ports.rest_url} control {self.ports.control_url}"

    @property
    def exchange_in_short(self) -> str:
        """The exchange and its address, for a narrow terminal."""
        if self.ports.ws is None:
            return "the real one"
        return f"sandbox {self.ports.ws_url} {self.ports.rest_url} control :{self.ports.control}"

    def commands_to_try(self, symbols: Collection[str]) -> list[str]:
        """Return commands for another terminal; the book is that of one of `symbols`."""
        symbol = _FAVOURITE_SYMBOL if _FAVOURITE_SYMBOL in symbols or not symbols else min(symbols)
        where = "" if self.ports.kafka == DEFAULT_PORT else f" --bootstrap-servers {self.ports.bootstrap_servers}"
        if self.ports.registry_url is not None:
            where += f" --schema-registry-url {self.ports.registry_url}"
        return [f"backpack-streams book {symbol}{where}", f"backpack-streams tail backpack.market.trade{where}"]
