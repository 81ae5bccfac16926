"""What users import: it resolves, is documented and typed, and costs nothing until it is used."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import backpack_streams
from backpack_streams import books

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "services" / "backpack_streams"
HEAVY = ("aiokafka", "fastavro", "cavro", "pydantic", "msgspec", "confluent_kafka", "asyncio", "ssl", "decimal")
CLIENTS = ("aiokafka", "fastavro", "cavro", "pydantic", "confluent_kafka")


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has imported after running code, by the names of whole packages and of our own modules."""
    shown = subprocess.run(
        [sys.executable, "-c", f"import sys, json\n{code}\nprint(json.dumps(list(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = json.loads(shown.stdout.splitlines()[-1])
    return {name.partition(".")[0] for name in names} | {name for name in names if name.startswith("backpack_streams")}


def test_the_package_costs_nothing_until_a_name_is_asked_for() -> None:
    after = modules_after("import backpack_streams")
    assert {name for name in after if name.startswith("backpack_streams")} == {
        "backpack_streams",
        "backpack_streams.lazy_names",
    }
    assert after.isdisjoint(HEAVY)
    after = modules_after("import backpack_streams.books")
    assert after.isdisjoint(HEAVY)


def test_an_order_book_needs_no_kafka_and_no_codec() -> None:
    light = "OrderBook, Side, Level, Coverage, KnownLevels, Status, MarketView, Gap, KafkaSettings, BookError"
    after = modules_after(f"from backpack_streams import {light}")
    assert after.isdisjoint(CLIENTS)
    assert "backpack_streams.bus.codec" not in after
    assert "backpack_streams.books.stream" not in after


@pytest.mark.parametrize("package", [backpack_streams, books])
@pytest.mark.parametrize("name", sorted({*backpack_streams.__all__, *books.__all__}))
def test_each_public_name_resolves_and_says_what_it_is(package: ModuleType, name: str) -> None:
    if name not in package.__all__:
        return
    found = getattr(package, name)
    assert found.__doc__
    assert not found.__doc__.startswith(f"{name}("), "a NamedTuple or dataclass without words of its own"
    assert name in dir(package)


def test_each_public_name_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "library.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    assert set(backpack_streams.__all__) - named == set()
    in_tables = {
        name for row in re.findall(r"^\| (`[^|]*)\|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert in_tables == set(backpack_streams.__all__)


@pytest.mark.parametrize("package", [backpack_streams, books])
def test_checkers_see_the_names_that_programs_get(package: ModuleType) -> None:
    tree = ast.parse(Path(package.__file__).read_text("utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(package.__all__) == set(package._WHERE) == set(seen)
    for name, (module, real) in seen.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), real)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'backpack_streams' has no attribute 'BookStreams'"):
        getattr(backpack_streams, "BookStreams")  # noqa: B009  # a name that a checker would not let through
    with pytest.raises(ImportError):
        exec("from backpack_streams.books import nothing")


def defined_in(path: Path) -> set[str]:
    """The classes, functions and names bound at the top of a module."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("part", ["books", "bus", "sequencing"])
def test_each_module_says_what_is_public(part: str) -> None:
    names = {path.relative_to(PACKAGE): defined_in(path) for path in (PACKAGE / part).rglob("*.py")}
    assert sorted(str(path) for path, found in names.items() if found and "__all__" not in found) == []


def modules(part: str) -> list[str]:
    return sorted(
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in (PACKAGE / part).rglob("*.py")
    )


@pytest.mark.parametrize("part", ["books", "bus", "sequencing"])
def test_what_a_module_calls_public_is_there(part: str) -> None:
    for name in modules(part):
        module = importlib.import_module(name)
        public = getattr(module, "__all__", [])
        assert [each for each in public if not hasattr(module, each)] == [], name
        assert [each for each in public if each.startswith("_")] == [], name
