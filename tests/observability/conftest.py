"""Prometheus for these tests. Without it they are skipped and say what to install; where CI is set they fail."""

import os
from pathlib import Path

import pytest

from observability.debian_prometheus import NoPrometheusError, Programs, programs


@pytest.fixture(scope="session")
def prometheus_programs() -> Programs:
    try:
        return programs()
    except NoPrometheusError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def promtool(prometheus_programs: Programs) -> Path:
    return prometheus_programs.promtool
