"""What to try on a running demo: commands for another terminal, each with what it shows. Sans I/O."""

import json
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from backpack_streams.demo.place import Place
from embedded_kafka import DEFAULT_PORT

__all__ = ["Suggestion", "suggestions", "text_of"]

_FAVOURITE_SYMBOL: Final = "BTC_USDC_PERP"
_KILLED_PRODUCER: Final = "market-producer"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A command that can be pasted as it is; `aim` says what for."""

    aim: str
    command: str

    @property
    def line(self) -> str:
        """Both on one line."""
        return f"to {self.aim}: {self.command}"


def suggestions(place: Place, symbols: Collection[str]) -> list[Suggestion]:
    """Return what to try, the book first. The real exchange takes no orders for faults, so it gets none.

    Args:
        place: the demo's addresses and files; the defaults of the commands are left out.
        symbols: the open markets; the book is that of `BTC_USDC_PERP`, or of the first by name.
    """
    symbol = _FAVOURITE_SYMBOL if _FAVOURITE_SYMBOL in symbols or not symbols else min(symbols)
    where = "" if place.ports.kafka == DEFAULT_PORT else f" --bootstrap-servers {place.ports.bootstrap_servers}"
    if place.ports.registry_url is not None:
        where += f" --schema-registry-url {place.ports.registry_url}"
    found = [
        Suggestion("watch a book go STALE and come back", f"{place.program} book {symbol}{where}"),
        # Through the file: the pid is another one after each restart.
        Suggestion("kill a producer", f"kill -9 $(cat {shlex.quote(str(place.pids.path(_KILLED_PRODUCER)))})"),
    ]
    if place.ports.control is not None:
        found += [
            Suggestion("drop a frame", _fault(place, fault="drop", stream=f"depth.{symbol}", count=1)),
            Suggestion("close the exchange's sockets", _fault(place, fault="close")),
            Suggestion("kill the exchange", f"kill -9 $(cat {shlex.quote(str(place.pids.path('sandbox')))})"),
        ]
    found.append(Suggestion("see the records", f"{place.program} tail backpack.market.trade{where}"))
    return found


def text_of(tries: Collection[Suggestion]) -> str:
    """Return the text of the file that holds all of it."""
    return "".join(f"# to {each.aim}\n{each.command}\n\n" for each in tries)


def _fault(place: Place, **order: str | int) -> str:
    return f"curl {place.ports.control_url}/faults -d {shlex.quote(json.dumps(order, separators=(',', ':')))}"
