"""How many examples the property tests try: few on every run of the tests, thousands with HYPOTHESIS_PROFILE=thorough."""

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

PROFILE: Final = os.environ.get("HYPOTHESIS_PROFILE", "house")
_TIMES: Final = {"thorough": 50}


def load_profile() -> None:
    """What is right is judged, never how fast the machine is. `mutations` tries the same examples each time, and a failure is enough."""
    house = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    # Every run tries the same examples, so that a failure is of what was changed; the thorough profile searches for new ones.
    settings.register_profile("house", house, derandomize=True, database=None)
    settings.register_profile("thorough", house, max_examples=100 * _TIMES["thorough"])
    settings.register_profile(
        "mutations", house, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
    )
    settings.load_profile(PROFILE)


def runs(examples: int, steps: int) -> settings:
    """Settings of a state machine: so many runs of at most so many steps; many times as many runs where that was asked for."""
    return settings(max_examples=examples * _TIMES.get(PROFILE, 1), stateful_step_count=steps)
