"""What documents name exists: commands and flags, files, functions, make targets, pages of the site's navigation."""

import ast
import importlib
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from backpack_sandbox.faults import FaultBox, parse_fault
from backpack_streams.cli.commands import COMMANDS, load
from backpack_streams.runtime.settings_fields import known_names, setting_fields

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "services" / "backpack_streams"
PAGES = [path for path in (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))) if path.name != "CHANGELOG.md"]
LIFE = DOCS / "concepts" / "life-of-a-depth-frame.md"
NOT_RUN = "**Not run"
RUN_BY_TEST_HOUSE = "docs/encoding.md"
"""Its program needs no Kafka."""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- commands


def command_lines(page: Path) -> Iterator[str]:
    """Lines of our program in blocks of shell, and in the text."""
    text = page.read_text("utf-8")
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if match := re.match(r"(?:\.venv/bin/)?backpack-streams +(.*)", line.strip()):
                yield match[1]
    yield from re.findall(
        r"`(?:\.venv/bin/)?backpack-streams +([^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )


def _settings_of(settings: str) -> type[BaseModel]:
    module, _, name = settings.partition(":")
    found: type[BaseModel] = getattr(importlib.import_module(module), name)
    return found


@cache
def _known_settings() -> frozenset[str]:
    return known_names(_settings_of(command.settings) for command in COMMANDS)


@cache
def _values_of_the_chart() -> Any:
    return yaml.safe_load((ROOT / "helm" / "backpack-streams" / "values.yaml").read_text("utf-8"))


@cache
def flags_of(settings: str) -> set[str]:
    fields = setting_fields(_settings_of(settings))
    return {flag for field in fields for flag in field.flags} | {"--help", "--config"}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_flags_exist(page: Path) -> None:
    commands = {command.name: command for command in COMMANDS}
    for line in command_lines(page):
        words = shlex.split(line.partition(" #")[0])
        name = words[0]
        if name in {"COMMAND", "SERVICE", "<command>"}:
            continue
        alternatives = [each for each in words if each in commands] if "|" in words else [name]
        for each in alternatives:
            assert each in commands, f"{line}: there is no command {each}"
            known = flags_of(commands[each].settings)
            used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert used <= known, f"{line}: {sorted(used - known)}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    text = page.read_text("utf-8")
    named_ones = re.findall(r"^make ((?:[a-z-]+ ?)+)|`make ((?:[a-z-]+ ?)+)", text, re.MULTILINE)
    words = {word for first, second in named_ones for word in (first or second).split()}
    assert words - {"help"} <= targets


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_faults_and_values_of_the_chart_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    orders = [json.loads(order) for order in re.findall(r"-d '(\{.*?\})'", text)]
    for order in orders + [parse_fault(each) for each in re.findall(r"--fault ([\w-]+:[\w=.,-]+)", text)]:
        FaultBox().add(order, 0)
    for path in re.findall(r"--set ([\w.]+)=", text):
        found = _values_of_the_chart()
        for name in path.split("."):
            assert name in found, f"{path} is no value of the chart"
            found = found[name]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_settings_files_and_objects_can_be_read(page: Path) -> None:
    known = _known_settings()
    for language, source in re.findall(r"^```(\w+)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        if language == "toml":
            found = tomllib.loads(source)
            tables = [each for each in found.values() if isinstance(each, dict)]
            names = [name for table in (found, *tables) for name, value in table.items() if not isinstance(value, dict)]
            assert set(names) <= known
        elif language == "json":
            json.loads(source)
        elif language == "yaml":
            yaml.safe_load(source)


# ---- files


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_tests_and_modules_that_are_named_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    paths = re.findall(r"`((?:tests|services|docs|examples|schemas|requirements)/[\w/.-]+)`", text)
    future = {"schemas/FundingEstimate.avsc", "services/backpack_streams/perp_producer/funding_estimate.py"}
    assert [path for path in paths if path not in future and not (ROOT / path).exists()] == []
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"\btest_\w+\.py", text)) <= files


# ---- programs


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_program_is_run_or_says_why_not(page: Path) -> None:
    """Those that name the documented address are run by test_documented_programs.py."""
    parts = re.split(r"^```([^\n]*)\n(.*?)^```", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for before, language, source in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        is_example = re.fullmatch(r'--8<-- "examples/\w+\.py"\n', source)  # all of them are run
        if language not in {"python", "java", "sql"} or named(page) == RUN_BY_TEST_HOUSE or is_example:
            continue
        section = before.rpartition("\n## ")[2]
        is_told = NOT_RUN in section or "Run with" in section
        assert is_told or (language == "python" and "127.0.0.1:19092" in source), f"{page.name}:\n{source[:200]}"


# ---- the life of a frame


def functions_of(path: Path) -> set[str]:
    """Every function of a module, methods with their class."""
    tree = ast.parse(path.read_text("utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if hasattr(each, "name")}
    return found


def hops() -> list[tuple[str, str]]:
    text = LIFE.read_text("utf-8")
    rows = re.findall(r"^\| \d+ \| `([\w.]+)` \| `([\w/.]+)` \|", text, re.MULTILINE)
    return rows + re.findall(r"`([A-Z]\w+\.\w+)` in `([\w/.]+)`", text)


@pytest.mark.parametrize(("function", "file"), hops())
def test_each_hop_is_in_the_code(function: str, file: str) -> None:
    assert function in functions_of(PACKAGE / file)


@pytest.mark.parametrize(("image", "section"), [("frame-to-kafka", 0), ("kafka-to-book", 1)])
def test_the_diagrams_show_the_hops_of_the_tables(image: str, section: int) -> None:
    drawing = (DOCS / "images" / f"{image}.svg").read_text("utf-8")
    shown = re.findall(r'class="name"[^>]*>([^<]+)<.*?class="file"[^>]*>([^<]+)<', drawing, re.DOTALL)
    tables = re.split(r"^## ", LIFE.read_text("utf-8"), flags=re.MULTILINE)[1 + section]
    assert shown == re.findall(r"^\| \d+ \| `([\w.]+)` \| `([\w/.]+)` \| (?!then)", tables, re.MULTILINE)[: len(shown)]
    assert len(shown) > 10


# ---- the site


def pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(entry)


def test_every_page_is_in_the_navigation() -> None:
    site = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), yaml.SafeLoader)
    listed = list(pages_of(site["nav"]))
    outside = set(re.findall(r'": "([\w/-]+\.md)"', (DOCS / "tools" / "site_hooks.py").read_text("utf-8")))
    own = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    alerts = {name for name in own if re.fullmatch(r"runbook/Backpack\w+\.md", name)}
    assert sorted(listed) == sorted((own - alerts) | outside)


def test_the_page_of_commands_is_what_the_program_takes() -> None:
    sys.path.insert(0, str(DOCS / "tools"))
    try:
        page = importlib.import_module("commands_page").commands_page()
    finally:
        sys.path.remove(str(DOCS / "tools"))
    assert (DOCS / "commands.md").read_text("utf-8") == page, "run make docs"


def test_the_page_of_commands_gives_each_command_its_own_defaults() -> None:
    text = (DOCS / "commands.md").read_text("utf-8")
    own, _, shared = text.partition("\n## Settings that commands share\n")
    sections = dict(re.findall(r"^## ([a-z-]+)$(.*?)(?=^## |\Z)", own, re.MULTILINE | re.DOTALL))
    groups = dict(re.findall(r"^### \w+ \{ #([\w-]+) \}$(.*?)(?=^### |\Z)", shared, re.MULTILINE | re.DOTALL))
    rows = re.compile(r"^\| `(--?[a-z0-9-]+)`[^|]*\| `?(.*?)`? \|", re.MULTILINE)
    assert sections.keys() == {command.name for command in COMMANDS}
    for command in COMMANDS:
        section = sections[command.name]
        told: dict[str, str] = {}
        for text_of_group in (*(groups[each] for each in re.findall(r"\(#(settings-\w+)\)", section)), section):
            told |= rows.findall(text_of_group)
        fields = setting_fields(load(command, command.settings))
        assert told == {field.flags[0]: field.default_text for field in fields}, command.name


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_every_example_is_shown() -> None:
    page = (DOCS / "guides" / "examples.md").read_text("utf-8")
    assert [path.name for path in (ROOT / "examples").glob("*.py") if f"examples/{path.name}" not in page] == []
