"""Suggestions for misspelt names."""

import pytest

from backpack_streams.runtime.nearest import nearest


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bok", "; did you mean 'book'?"),
        ("market_producer", "; did you mean 'market-producer'?"),
        ("TAIL", "; did you mean 'tail'?"),
        ("zzzz", ""),
    ],
)
def test_the_nearest_name_is_suggested_if_it_is_close(name: str, hint: str) -> None:
    assert nearest(name, ["book", "market-producer", "tail"]) == hint
