"""Everything that the exchange's two specification files name becomes a record, or is left out with a stated reason."""

import gzip
import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from backpack_streams.bus.topics import TOPICS
from backpack_streams.exchange.streams import KLINE_INTERVALS
from backpack_streams.rest_poller.catalogue import ASKED_WHEN_NEEDED, LEFT_OUT, endpoints
from backpack_streams.rest_poller.settings import RestPollerSettings
from contract.coverage import CHANNELS_LEFT_OUT, channels, coverage_page

ROOT = Path(__file__).parents[3]
TABLE = endpoints(RestPollerSettings())
NEWER_CHANNELS = {"externalTicker.{symbol}", "stockPrice.{ticker}", "liquidation.{symbol}", "account.balanceUpdate"}
"""Documented after the AsyncAPI file was taken."""


@cache
def spec(name: str) -> dict[str, Any]:
    document = yaml.load(
        gzip.decompress((ROOT / "tests" / "data" / f"backpack-{name}.yml.gz").read_bytes()),
        Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),
    )
    assert isinstance(document, dict)
    return document


def spec_channels() -> set[str]:
    """Channels of the AsyncAPI file, aggregated depth with each of its windows."""
    found = set()
    for name, channel in spec("asyncapi")["channels"].items():
        choices = {
            each: parameter["schema"]["enum"]
            for each, parameter in (channel.get("parameters") or {}).items()
            if each == "aggregation"
        }
        for chosen in product(*choices.values()):
            filled = name
            for each, value in zip(choices, chosen, strict=True):
                filled = filled.replace(f"{{{each}}}", value)
            found.add(filled)
    return found


def public_endpoints() -> set[str]:
    """GETs of the OpenAPI file that ask for no key."""

    def is_public(operation: dict[str, Any]) -> bool:
        return not any(each["name"].lower() in ("x-api-key", "x-signature") for each in operation.get("parameters", []))

    paths = spec("openapi")["paths"]
    return {path for path, operations in paths.items() if "get" in operations and is_public(operations["get"])}


def test_the_specification_files_are_read() -> None:
    assert {"trade.{symbol}", "depth.200ms.{symbol}", "account.orderUpdate"} <= spec_channels()
    assert {"/api/v1/markets", "/api/v1/vaults/history"} <= public_endpoints()
    assert "/api/v1/orders" not in public_endpoints()
    assert len(public_endpoints()) > 25


def test_every_channel_becomes_a_record_or_is_left_out_with_a_reason() -> None:
    ours = {each.name for each in channels()}
    assert (spec_channels() | NEWER_CHANNELS) - ours == set(CHANNELS_LEFT_OUT)
    assert all(CHANNELS_LEFT_OUT.values())
    intervals = spec("asyncapi")["channels"]["kline.{interval}.{symbol}"]["parameters"]["interval"]["schema"]["enum"]
    assert set(intervals) == set(KLINE_INTERVALS)


def test_every_public_endpoint_becomes_a_record_or_is_left_out_with_a_reason() -> None:
    polled = {each.path for each in TABLE}
    assert polled | ASKED_WHEN_NEEDED.keys() | LEFT_OUT.keys() == public_endpoints()
    assert not polled & ASKED_WHEN_NEEDED.keys()
    assert not LEFT_OUT.keys() & (polled | ASKED_WHEN_NEEDED.keys())
    assert all(LEFT_OUT.values())


def test_every_topic_of_data_has_a_source() -> None:
    filled = {each.topic for each in channels()} | {each.topic for each in TABLE}
    filled |= {name for name, _ in ASKED_WHEN_NEEDED.values()}
    filled.add("market.book_top")  # made from other topics
    assert {each.name for each in TOPICS if not each.name.startswith("ops.")} == filled


def test_parameters_are_those_of_the_specification() -> None:
    for each in TABLE:
        known = {one["name"]: one for one in spec("openapi")["paths"][each.path]["get"].get("parameters", [])}
        asked = {name for name, _ in each.parameters} | ({"limit", "offset"} if each.page_rows else set())
        asked |= set() if each.subject == "all" else {"symbol"}
        assert asked <= known.keys(), each.name
        assert {name for name, one in known.items() if one.get("required")} <= asked, each.name


def test_the_page_is_what_the_code_generates() -> None:
    assert (ROOT / "docs" / "coverage.md").read_text("utf-8") == coverage_page(), "run make docs"


@pytest.mark.parametrize(
    "each", [*(each.name for each in channels()), *LEFT_OUT, *ASKED_WHEN_NEEDED, *(e.path for e in TABLE)]
)
def test_the_page_names_each_of_them(each: str) -> None:
    assert f"`{each}`" in coverage_page() or f"`GET {each}`" in coverage_page()


def test_the_page_points_at_schemas_that_are_there() -> None:
    for target in set(re.findall(r"\]\(([^)]+)\)", coverage_page())):
        assert (ROOT / "docs" / target).exists(), target
