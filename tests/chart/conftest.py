import pytest

from chart.rendering import Chart
from kubelab.building import custom_resource_definitions
from kubelab.errors import LabError
from kubelab.requirement import not_there, required_tool


@pytest.fixture(scope="session")
def chart() -> Chart:
    """The chart, with the Helm of the lab, which has the definitions of custom resources too."""
    try:
        custom_resource_definitions()
    except LabError as error:
        not_there(str(error))
    return Chart(required_tool("helm"))
