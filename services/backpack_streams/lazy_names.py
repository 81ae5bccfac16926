"""Imports the names of a package at their first use, so that importing the package itself stays cheap (PEP 562)."""

from collections.abc import Callable, Mapping, MutableMapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    names: MutableMapping[str, Any], where: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package.

    Args:
        names: the package's `globals()`; it takes each name when it is first used.
        where: the module of each name: `package.module`, or `package.module:name` if the module uses another name for it.
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
