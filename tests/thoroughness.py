"""The number of examples of the property tests: few by default, thousands with HYPOTHESIS_PROFILE=thorough."""

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

PROFILE: Final = os.environ.get("HYPOTHESIS_PROFILE", "house")
_TIMES: Final = {"thorough": 50}


def load_profile() -> None:
    """No deadlines: only results are judged. `mutations` tries the same examples each time, and stops at the first failure."""
    house = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    # Every run tries the same examples, so that a failure is due to a change; the thorough profile searches for new ones.
    settings.register_profile("house", house, derandomize=True, database=None)
    settings.register_profile("thorough", house, max_examples=100 * _TIMES["thorough"])
    settings.register_profile(
        "mutations", house, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
    )
    settings.load_profile(PROFILE)


def runs(examples: int, steps: int) -> settings:
    """Settings of a state machine: so many runs of at most so many steps; many times as many runs with the thorough profile."""
    return settings(max_examples=examples * _TIMES.get(PROFILE, 1), stateful_step_count=steps)
