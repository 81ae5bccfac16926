"""Writes documents into FOLDER, and typed records. `make docs` runs it as `python -m contract FOLDER`."""

import json
import sys
from pathlib import Path

from contract.asyncapi import asyncapi_document
from contract.coverage import coverage_page
from contract.metrics_page import metrics_page
from contract.pages import topics_page
from contract.typed_records import typed_records

RECORDS = Path(__file__).parents[3] / "services" / "backpack_streams" / "books" / "records"


def generated() -> dict[str, str]:
    """Return the text of each generated document, by its name in docs/."""
    return {
        "asyncapi.json": json.dumps(asyncapi_document(), indent=1, ensure_ascii=False) + "\n",
        "coverage.md": coverage_page(),
        "metrics.md": metrics_page(),
        "topics.md": topics_page(),
    }


def main(folder: Path, records: Path = RECORDS) -> None:
    """Write the documents into `folder`, and the modules of typed records into `records`."""
    for where, texts in ((folder, generated()), (records, typed_records())):
        where.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (where / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
