"""Entity tags: the same for equal data in every gateway, and different for different data."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.gateway.envelope import digest
from backpack_streams.gateway.kept_answers import KeptAnswers

ROWS = st.dictionaries(st.text(max_size=3), st.decimals(allow_nan=False, allow_infinity=False) | st.text(max_size=3))


@given(ROWS, ROWS)
def test_a_restarted_gateway_gives_the_tag_of_its_data_not_of_its_counters(
    before: dict[str, Decimal | str], now: dict[str, Decimal | str]
) -> None:
    """Both count their first state as 1."""
    first = KeptAnswers().get("markets", 1, "Markets retrieved successfully", lambda: before)
    after = KeptAnswers().get("markets", 1, "Markets retrieved successfully", lambda: now)
    assert (digest(first, "string") == digest(after, "string")) == (
        [*map(str, before.items())] == [*map(str, now.items())]
    )


def test_the_format_of_numbers_changes_the_tag() -> None:
    answer = KeptAnswers().get("ticker", 1, "Ticker retrieved successfully", lambda: {"last_price": Decimal("1.10")})
    assert digest(answer, "string") != digest(answer, "number")
    assert digest(answer, "string") == digest(answer, "string")
