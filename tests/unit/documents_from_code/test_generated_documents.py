"""docs/ says what the code says."""

import json
import re
from pathlib import Path

import pytest

from backpack_streams.bus.schemas import own_schemas
from backpack_streams.bus.topics import TOPICS
from contract.__main__ import generated, main
from contract.asyncapi import asyncapi_document
from contract.pages import topics_page
from contract.typed_records import typed_records

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", sorted(generated()))
def test_the_documents_are_what_the_code_generates(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == generated()[name], f"docs/{name} is of an earlier day: run make docs"


def test_they_are_written_where_asked(tmp_path: Path) -> None:
    main(tmp_path / "docs", tmp_path / "records")
    assert {path.name for path in (tmp_path / "docs").iterdir()} == set(generated())
    assert {path.name for path in (tmp_path / "records").iterdir()} == set(typed_records())


def test_every_topic_is_a_channel_with_its_schema() -> None:
    document = asyncapi_document("x.")
    assert [channel["address"] for channel in document["channels"].values()] == [
        topic.full_name("x.") for topic in TOPICS
    ]
    for topic in TOPICS:
        message = document["components"]["messages"][topic.record]
        assert message["payload"]["schema"] == own_schemas()[topic.record].document
    assert json.loads(json.dumps(document)) == document


def test_every_field_has_its_row() -> None:
    page = topics_page()
    for topic in TOPICS:
        section = re.search(rf"^## {topic.record}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert section is not None
        for field in own_schemas()[topic.record].document["fields"]:
            assert f"| `{field['name']}` |" in section[1]


@pytest.mark.parametrize("page", ["reading.md", "topics.md"])
def test_a_page_points_only_at_files_that_are_there(page: str) -> None:
    targets = re.findall(r"\]\((?!\w+://|#)([^)#]+)", (DOCS / page).read_text("utf-8"))
    assert [target for target in targets if not (DOCS / target).exists()] == []
