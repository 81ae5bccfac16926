"""The house rules that no linter knows: who may import whom, what the locks hold, what no file may name."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

from backpack_streams.bus.codec import Codec

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "services" / "backpack_streams"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS: dict[str, list[str]] = {
    tool["project"]["name"]: tool["project"]["dependencies"]
    for path in (ROOT / "services").glob("*/pyproject.toml")
    for tool in [tomllib.loads(path.read_text())]
}

# Packages that know only what is listed here; a service, the command line and the demo may know more.
LEAVES = {
    "backoff",
    "credentials",
    "dialing",
    "errors",
    "expanded_path",
    "shown_text",
    "steady_clock",
    "topic_partition",
}
SERVICES = ("market_producer", "perp_producer", "account_producer", "rest_poller", "book_builder")
SHARED_BY_SERVICES = {"exchange", "bus", "sequencing", "runtime", "publishing", "markets", "exchange_clients", "feed"}
MAY_IMPORT = {
    "exchange": LEAVES,
    "bus": LEAVES,
    "sequencing": {"errors", "topic_partition"},
    "books": {"bus", "errors", "lazy_names", "sequencing", "steady_clock", "topic_partition"},
    "audits": {"books", "errors", "sequencing"},
    "recording": {"errors"},
    "runtime": {"backoff", "bus", "credentials", "errors", "expanded_path", "shown_text"},
    "exchange_clients": {"exchange", "runtime"},
    "markets": {"backoff", "errors", "exchange", "runtime"},
    "publishing": {"bus", "errors", "exchange", "runtime"},
    "feed": LEAVES | SHARED_BY_SERVICES,
    **dict.fromkeys(SERVICES, LEAVES | SHARED_BY_SERVICES),
    "book_builder": LEAVES | {"audits", "books", "bus", "publishing", "runtime", "sequencing"},
    "screen": {"books", "bus", "gateway", "markets", "shown_text"},
    "cli": {"errors", "runtime", "shown_text"},
}
# Programs of their own know these leaves of the product and no more: tests rely on their independence.
TOOLS_MAY_IMPORT = {
    "backpack_sandbox": {"cli", "errors", "recording", "runtime"},
    "embedded_kafka": {"backoff", "errors", "runtime"},
}
MADE_BY_TOOLS = {"__pycache__", "build", "dist"}
HIDDEN_BUT_OURS = {".ci", ".github", ".gitignore", ".dockerignore", ".env"}

# Each pattern is written so that it does not match its own text.
REGISTRY = re.compile(
    r"pythonhosted[.]org|(?<![\w.])pypi[.]org|repo1?[.]maven|registry[.]npmjs|proxy[.]golang"
    r"|--(?:extra-)?index-ur[l]|--find-link[s]|https?://[^\s\"']*/simpl[e]\b"
)
MACHINE_PATH = re.compile(r"(?<![\w.~$})-])/(?:work|root|tmp)/\w")
WITHOUT_REASON = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)")


def files(*suffixes: str) -> list[Path]:
    """Every file of the project, or those with one of the suffixes; what tools leave behind is not the project."""
    found: list[Path] = []
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name in MADE_BY_TOOLS or (path.name.startswith(".") and path.name not in HIDDEN_BUT_OURS):
                continue
            if path.is_dir():
                folders.append(path)
            elif not suffixes or path.suffix in suffixes:
                found.append(path)
    return found


def matches(pattern: re.Pattern[str], *suffixes: str) -> list[str]:
    """`file:line: text` of every match in the project's text files."""
    found = []
    for path in files(*suffixes):
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:  # not text: a compressed recording
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return found


def test_the_search_sees_the_project() -> None:
    names = {str(path.relative_to(ROOT)) for path in files()}
    assert {"Makefile", ".ci/run", "requirements/dev.txt", "services/backpack_streams/errors.py"} <= names
    assert not any(name.startswith((".git/", ".venv")) for name in names)


def test_no_file_names_a_package_registry() -> None:
    assert matches(REGISTRY) == []


def test_no_file_names_a_folder_of_the_machine_it_was_written_on() -> None:
    assert matches(MACHINE_PATH) == []


def test_every_silenced_check_says_which_one() -> None:
    assert matches(WITHOUT_REASON, ".py") == []


# ---- who may import whom


def imports_of(path: Path) -> Iterator[str]:
    """The absolute names of all modules that a source file imports, wherever in the file it does so."""
    package = path.relative_to(PACKAGE.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            if module == PACKAGE.name:  # `from backpack_streams import bus` names the packages last
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def own_parts_imported_by(part: str) -> dict[str, set[str]]:
    """For each other part of the package that `part` imports, the files that do so."""
    found: dict[str, set[str]] = {}
    for path in sorted((PACKAGE / part).rglob("*.py")):
        for name in imports_of(path):
            top, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if top == PACKAGE.name and other not in ("", part) and not other.startswith("__"):
                found.setdefault(other, set()).add(path.name)
    return found


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_arrows_between_packages_point_one_way(part: str) -> None:
    wrong = {other: names for other, names in own_parts_imported_by(part).items() if other not in MAY_IMPORT[part]}
    assert wrong == {}


@pytest.mark.parametrize("tool", TOOLS_MAY_IMPORT)
def test_a_tool_knows_only_leaves_of_the_product(tool: str) -> None:
    found = own_parts_imported_by(f"../{tool}")
    assert {other: names for other, names in found.items() if other not in TOOLS_MAY_IMPORT[tool]} == {}


def test_a_tool_is_imported_only_by_the_demo() -> None:
    tools = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for name in imports_of(path)
        if name.partition(".")[0] in TOOLS_MAY_IMPORT
    }
    assert {name for name in tools if not name.startswith("demo/")} == set()


def test_no_command_imports_another_and_no_service_imports_a_command() -> None:
    wrong = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        mine = path.relative_to(PACKAGE).parts
        for name in imports_of(path):
            _, part, *command = [*name.split("."), ""][:3]
            if part == "commands" and command and mine[:2] != ("commands", command[0]):
                wrong.add(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == set()


def test_no_package_is_in_an_import_circle() -> None:
    parts = [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
    reached = {part: set(own_parts_imported_by(part)) & set(parts) for part in parts}
    while any(grew(others, reached) for others in reached.values()):
        pass
    assert {part for part, others in reached.items() if part in others} == set()


def grew(others: set[str], reached: dict[str, set[str]]) -> bool:
    """Add what the reached packages reach in one more step; say whether that was anything new."""
    more = set().union(*(reached[other] for other in others)) - others
    others |= more
    return bool(more)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import backpack_streams.bus.codec", "backpack_streams.bus.codec"),
        ("from backpack_streams import bus", "backpack_streams.bus"),
        ("from ..bus import codec", "backpack_streams.bus"),
        ("from .. import bus", "backpack_streams.bus"),
        ("def late():\n    from backpack_streams.bus.codec import Codec", "backpack_streams.bus.codec"),
    ],
)
def test_every_way_to_import_is_seen(
    tmp_path: Path, source: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backpack_streams" / "exchange"
    folder.mkdir(parents=True)
    (folder / "module.py").write_text(source)
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path / "backpack_streams")
    assert list(imports_of(folder / "module.py")) == [expected]


# A schema registry is for those who have one: imported where it is asked for, and its lack is told with what to install.
ONLY_WITH_AN_EXTRA = {"bus/registry_client.py": {"confluent_kafka"}}


@pytest.mark.parametrize("part", ["bus", "sequencing", "books"])
def test_the_consumer_library_needs_only_the_base_install(part: str) -> None:
    base = {module_of(Requirement(text).name) for text in PROJECT["dependencies"]}
    known = base | set(sys.stdlib_module_names) | {PACKAGE.name}
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in (PACKAGE / part).rglob("*.py")
        for name in imports_of(path)
        if name.partition(".")[0] not in known | ONLY_WITH_AN_EXTRA.get(str(path.relative_to(PACKAGE)), set())
    }
    assert wrong == set()


def module_of(distribution: str) -> str:
    """The import name of a distribution whose two names differ by a dash at most."""
    return distribution.replace("-", "_")


def test_every_module_is_named_for_what_it_does() -> None:
    vague = re.compile(r"(?:^|_)(?:utils?|common|helpers?|managers?|misc)(?:_|$)")
    assert [str(path) for path in files(".py") if vague.search(path.stem)] == []
    assert matches(re.compile(r"^\s*class \w*(?:Manager|Helper|Utils?)\b"), ".py") == []


# ---- what the locks and the wheel hold


def locked(lock: str) -> dict[str, list[Requirement]]:
    """The requirements of a lock by name; a name may have one version for each of several Pythons."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements" / lock).read_text().splitlines():
        if re.match(r"[\w.-]+==", line):
            requirement = Requirement(line.removesuffix("\\").strip())
            found.setdefault(requirement.name, []).append(requirement)
    return found


def declared(extra: str | None) -> Iterator[Requirement]:
    """What pyproject.toml asks for with an extra, the extras that it names included."""
    yield from map(Requirement, PROJECT["dependencies"])
    for text in PROJECT["optional-dependencies"][extra] if extra else []:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            for other in sorted(requirement.extras):
                yield from declared(other)
        elif requirement.name in TOOLS:
            yield from (each for each in map(Requirement, TOOLS[requirement.name]) if each.name != PROJECT["name"])
        else:
            yield requirement


@pytest.mark.parametrize(
    ("lock", "extra"), [("dev.txt", "dev"), ("bench.txt", "bench"), ("image.txt", "services"), ("image.txt", "socks")]
)
def test_a_lock_holds_what_the_project_asks_for(lock: str, extra: str) -> None:
    pinned = locked(lock)
    for requirement in declared(extra):
        versions = [next(iter(pin.specifier)).version for pin in pinned.get(requirement.name, [])]
        assert versions, f"{requirement.name} is not in requirements/{lock}: run make lock"
        wrong = [version for version in versions if version not in requirement.specifier]
        assert not wrong, f"requirements/{lock} has {requirement.name} {wrong}, not {requirement}: run make lock"


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_a_lock_pins_every_package_by_hash_and_names_no_address(path: Path) -> None:
    text = path.read_text()
    entries = re.split(r"\n(?=[\w.-]+==)", text)[1:]
    assert entries
    assert [entry.partition(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text


def test_the_image_ships_the_versions_that_are_tested() -> None:
    tested = locked("dev.txt")
    shipped = locked("image.txt")
    assert shipped
    for name, requirements in shipped.items():
        assert {str(each.specifier) for each in requirements} <= {str(each.specifier) for each in tested[name]}, name


def test_the_wheel_holds_the_package_the_schemas_and_the_licence_and_no_more(tmp_path: Path) -> None:
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"backpack_streams-{PROJECT['version']}.dist-info"
    schemas = {f"backpack_streams/schemas/{path.name}" for path in (ROOT / "schemas").glob("*.avsc")}
    assert schemas
    stubs = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*.pyi")}
    assert len(stubs) >= 3
    assert schemas | stubs | {"backpack_streams/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert {name for name in names if not name.startswith(("backpack_streams/", f"{info}/"))} == set()


@pytest.mark.parametrize("package", TOOLS_MAY_IMPORT)
def test_the_wheel_of_a_tool_holds_its_package_and_no_more(tmp_path: Path, package: str) -> None:
    folder = ROOT / "services" / package
    [wheel] = WheelBuilder(str(folder)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {path for path in folder.rglob("*") if path.suffix in {".py", ".txt", ".typed", ".md"}}
    assert names == {path.relative_to(folder.parent).as_posix() for path in expected}


def test_versions_of_the_tools_are_the_project_s() -> None:
    for path in (ROOT / "services").glob("*/pyproject.toml"):
        tool = tomllib.loads(path.read_text())["project"]
        assert tool["version"] == PROJECT["version"]
        assert f"{PROJECT['name']}=={PROJECT['version']}" in tool["dependencies"]


def test_a_book_needs_the_wheel_and_no_other_package(tmp_path: Path) -> None:
    """As `pip install --no-deps` leaves it: what needs Kafka's client says so when it is asked for."""
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = f"""
import pickle, sys
sys.path.insert(0, {str(tmp_path / "installed")!r})
from backpack_streams import KafkaSettings, OrderBook, Status
book = OrderBook()
assert book.apply_text([("100", "1")], [("101", "2")])
assert pickle.loads(pickle.dumps(book)) == book
try:
    from backpack_streams import BookStream
except ModuleNotFoundError as error:
    print(error.name)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("aiokafka", "")


# ---- what the documents say


def test_the_page_on_encoding_decodes_our_records_with_fastavro_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "encoding.md").read_text("utf-8")
    [source] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert PACKAGE.name not in source
    monkeypatch.chdir(ROOT)
    example: dict[str, Any] = {}
    exec(source, example)
    codec = Codec()
    level = {"price": Decimal("86700.10"), "quantity": Decimal("0.00123")}
    row: dict[str, Any] = {
        "symbol": "SOL_USDC",
        "source": "WEBSOCKET",
        "event_time": None,
        "engine_time": 2,
        "received_time": 3,
    }
    row |= {"first_update_id": 4, "last_update_id": 5, "bids": [level], "asks": []}
    decoded = example["decode"](codec.encoder("DepthUpdate", "backpack.market.depth")(codec.rows("DepthUpdate")(row)))
    assert decoded["symbol"] == "SOL_USDC"
    assert decoded["bids"] == [level]
    assert decoded["last_update_id"] == 5


def test_no_two_test_files_share_topics() -> None:
    """They share one Kafka, and what one left would be the other's surprise."""
    prefix = re.compile(r'running_plant\(kafka\.bootstrap_servers, \w+, "([^"]+)"\)')
    users: dict[str, set[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in prefix.findall(file.read_text()):
            users.setdefault(name, set()).add(file.name)
    assert len(users) > 5
    assert {name: files for name, files in users.items() if len(files) > 1} == {}


def test_test_files_have_names_of_their_own() -> None:
    """They are no packages: two of one name cannot be collected together."""
    named = Counter(file.name for file in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, times in named.items() if times > 1] == []
