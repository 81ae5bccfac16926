"""The runbook, the rules and the dashboard name only what exists: pages, metrics, commands and their flags."""

import ast
import importlib.util
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
OTHER_PROGRAMS = ("chronyc ", "kubectl ")
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


def test_modules_that_are_run_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"`[^`]*python -m ([\w.]+)", page.read_text("utf-8"))}
    assert named
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


# ---- words of logs and reasons


def texts_of_the_program() -> list[list[str]]:
    """Every text that the services may write: one part, or for an f-string those between its values."""
    found = []
    for path in (ROOT / "services" / "backpack_streams").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                found.append([node.value])
            elif isinstance(node, ast.JoinedStr):
                found.append([str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values])
    return found


def is_said(quoted: str, texts: list[list[str]]) -> bool:
    """Whether the program has a text with these words; `...` stands for anything, and so does a value of an f-string."""
    pieces = [piece.strip() for piece in re.split(r"\.\.\.|…|\b[NM]\b", quoted) if piece.strip()]
    for parts in texts:
        written = "\0".join(parts)
        if all(piece in written for piece in pieces):
            return True
        if len(parts) > 1 and len("".join(parts).strip()) > len(quoted) / 3:
            pattern = ".*".join(re.escape(part) for part in parts)
            if re.fullmatch(pattern, quoted) or re.fullmatch(f"{pattern}.*", pieces[0]):
                return True
    return False


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    return texts_of_the_program()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_words_that_are_quoted_are_the_programs(page: Path, texts: list[list[str]]) -> None:
    """Reasons and log lines in quotes or as code, the words that `grep` looks for, and the column `reason` of a table."""
    text = " ".join(page.read_text("utf-8").split())
    quoted = re.findall(r'"([^"]* [^"]*)"', re.sub(r"`[^`]*`", "", text))
    quoted += [line for line in re.findall(r"`([a-z]+(?: [a-z]+)+)`", text) if not line.startswith(OTHER_PROGRAMS)]
    _, _, table = page.read_text("utf-8").partition("| reason | meaning |\n|---|---|\n")
    quoted += re.findall(r"^\| ([^|]+) \|", table.partition("\n\n")[0], re.MULTILINE)
    assert [each for each in quoted if not is_said(each, texts)] == []

    events = [part for parts in texts for part in parts]
    for option, in_quotes, word in re.findall(r'`[^`]*\| grep (-i )?(?:"([^"]+)"|(\S+))`', text):
        wanted = in_quotes or word
        # `stream_` stands for all events whose names begin so.
        form = rf"{wanted}[a-z_]+" if wanted.endswith("_") else rf".*{re.escape(wanted)}.*"
        flags = re.DOTALL | (re.IGNORECASE if option else re.NOFLAG)
        assert any(re.fullmatch(form, event, flags) for event in events), wanted


def test_words_that_the_program_does_not_have_are_seen(texts: list[list[str]]) -> None:
    assert is_said("no producer has vouched for depth.X since ...", texts)
    assert not is_said("its subscription does not stand", texts)
    assert not is_said("no producer has spoken of depth.X", texts)


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
