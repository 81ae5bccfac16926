"""What a test does that needs a tool which is not there: it is skipped with the reason, and fails where everything must run (CI)."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

from kubelab.building import tool_path
from kubelab.errors import LabError


def required_tool(name: str) -> Path:
    """The program of this name, for a test."""
    try:
        return tool_path(name)
    except LabError as error:
        not_there(str(error))


def not_there(reason: str) -> NoReturn:
    """End this test: something it needs is not on this machine."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
