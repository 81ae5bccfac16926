"""AsyncAPI's own parser accepts our document, with every Avro schema in it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backpack_streams.bus.topics import TOPICS
from embedded_kafka.downloads import cache_folder, sha256_of

HERE = Path(__file__).parent / "asyncapi"
DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.json"
ERRORS = (0, 1)  # the parser's severities: error and warning; others are hints

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js and npm")


@pytest.fixture(scope="session")
def parser() -> Path:
    """The folder of the parser's packages: their hashes are checked, and their scripts do not run."""
    folder = cache_folder() / f"asyncapi-parser-{sha256_of(HERE / 'package-lock.json')[:12]}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=240)
        (folder / "complete").touch()
    return folder


def check(parser: Path, document: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["node", str(HERE / "check.js"), str(parser), str(document)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_the_official_parser_accepts_the_document(parser: Path) -> None:
    said = check(parser, DOCUMENT)
    assert [found for found in said["found"] if found["severity"] in ERRORS] == []
    assert said["channels"] == [topic.full_name("backpack.") for topic in TOPICS]


def test_the_parser_rejects_a_broken_avro_schema(parser: Path, tmp_path: Path) -> None:
    document = json.loads(DOCUMENT.read_text("utf-8"))
    document["components"]["messages"]["Trade"]["payload"]["schema"]["fields"][0]["type"] = "no such type"
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(document), "utf-8")
    assert [found for found in check(parser, broken)["found"] if found["severity"] in ERRORS]
