"""The runbook, the rules and the dashboard name only what exists: pages, metrics, commands and their flags."""

import importlib
import json
import re
from pathlib import Path

import pytest

from backpack_streams.cli.commands import COMMANDS
from backpack_streams.runtime.metrics import METRIC_PREFIX
from backpack_streams.runtime.settings_fields import setting_fields
from observability.rule_file import ALERTS, DASHBOARD, ROOT, RUNBOOK, alerts, metrics_named_in

PAGES = sorted(path for path in RUNBOOK.glob("*.md") if path.name != "README.md")
RULES = {rule["alert"]: rule for rule in alerts()}
METRICS_PAGE = ROOT / "docs" / "metrics.md"
HISTOGRAM_SUFFIXES = re.compile(r"_(?:bucket|sum|count)$")
SECTIONS = ["What it means", "Look at", "Do", "It is not"]


def known_metrics() -> set[str]:
    """Every metric of the page that is generated from the code."""
    rows = re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram) \|", METRICS_PAGE.read_text("utf-8"), re.MULTILINE)
    known = {METRIC_PREFIX + name for name in rows}
    assert len(known) > 50, f"{METRICS_PAGE.name} names only {len(known)} metrics"
    return known


def test_each_rule_has_a_page_and_each_page_a_rule() -> None:
    assert {page.stem for page in PAGES} == set(RULES)


def test_the_index_lists_every_page_with_its_severity() -> None:
    index = (RUNBOOK / "README.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| \[(\w+)\]\(\w+\.md\) \| (\w+) \|", index, re.MULTILINE))
    assert rows == {name: rule["labels"]["severity"] for name, rule in RULES.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_about_its_alert(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert [target for target in targets if not (RUNBOOK / target).exists()] == []


@pytest.mark.parametrize("path", [ALERTS, DASHBOARD, *PAGES], ids=lambda path: path.stem)
def test_metrics_that_are_named_exist(path: Path) -> None:
    known = known_metrics()
    named = metrics_named_in(path.read_text("utf-8"))
    assert {name for name in named if name not in known and HISTOGRAM_SUFFIXES.sub("", name) not in known} == set()
    if path in (ALERTS, DASHBOARD):
        assert named


def test_commands_and_flags_that_are_named_exist() -> None:
    commands = {command.name: command for command in COMMANDS}
    for page in [*PAGES, RUNBOOK / "README.md"]:
        for name, rest in re.findall(
            r"`(?:kubectl exec POD -- )?backpack-streams\s+([a-z-]+)([^`]*)`", page.read_text("utf-8")
        ):
            assert name in commands, f"{page.name}: there is no command {name}"
            flags = set(re.findall(r"(?<!\S)--[a-z0-9-]+", rest))
            assert flags <= flags_of(commands[name].settings), f"{page.name}: {name}{rest}"
            words = [word for word in rest.split() if not word.startswith("-")]
            choices = [each.choices for each in commands[name].positionals if each.choices]
            assert not choices or words[0] in choices[0], f"{page.name}: {name}{rest}"


def test_settings_that_are_named_exist() -> None:
    known = {flag for command in COMMANDS for flag in flags_of(command.settings)}
    ours = re.compile(r"`(--[a-z0-9-]+)")
    for page in PAGES:
        named = set(ours.findall(page.read_text("utf-8")))
        assert named <= known, f"{page.name}: {sorted(named - known)}"


def flags_of(settings: str) -> set[str]:
    """The flags of a command's settings, written `module:name`."""
    module, _, name = settings.partition(":")
    return {field.flag for field in setting_fields(getattr(importlib.import_module(module), name))}


def test_every_query_of_the_dashboard_belongs_to_a_panel_with_a_title_of_its_own() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    titles = [panel["title"] for panel in panels]
    assert len(titles) == len(set(titles))
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
