"""Writes the generated documents: `python -m backpack_streams.contract FOLDER`. Run by `make docs`."""

import json
import sys
from pathlib import Path

from backpack_streams.contract.asyncapi import asyncapi_document
from backpack_streams.contract.coverage import coverage_page
from backpack_streams.contract.metrics_page import metrics_page
from backpack_streams.contract.pages import topics_page


def generated() -> dict[str, str]:
    """The text of each generated document, by its name in docs/."""
    return {
        "asyncapi.json": json.dumps(asyncapi_document(), indent=1, ensure_ascii=False) + "\n",
        "coverage.md": coverage_page(),
        "metrics.md": metrics_page(),
        "topics.md": topics_page(),
    }


def main(folder: Path) -> None:
    """Write them into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in generated().items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
