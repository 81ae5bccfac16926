"""The examples in the library's docstrings that need no Kafka give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "services" / "backpack_streams"
WITH_EXAMPLES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if "\n        >>> " in path.read_text("utf-8") or "\n    >>> " in path.read_text("utf-8")
)


def test_there_are_examples() -> None:
    assert PACKAGE / "books" / "order_book.py" in WITH_EXAMPLES


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_give_what_they_say(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
