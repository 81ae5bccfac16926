"""Names of a package that are imported when somebody first asks for them, so that importing the package stays light (PEP 562)."""

from collections.abc import Callable, Mapping, MutableMapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    names: MutableMapping[str, Any], where: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package whose `globals()` are `names`.

    `where` says of each name in which module it is: `package.module`, or `package.module:name` where it is called otherwise there.
    """

    def find(name: str) -> Any:
        place = where.get(name)
        if place is None:
            raise AttributeError(f"module {names['__name__']!r} has no attribute {name!r}")
        module, _, other = place.partition(":")
        found = names[name] = getattr(import_module(module), other or name)
        return found

    def known() -> list[str]:
        return sorted({*names, *where})

    return find, known
