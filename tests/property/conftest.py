"""How many examples: few and always the same in CI, many with TIDEGATE_HYPOTHESIS=long."""

import os

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=150, suppress_health_check=SLOW)
settings.register_profile("long", deadline=None, max_examples=5000, suppress_health_check=SLOW, print_blob=True)
settings.load_profile(os.environ.get("TIDEGATE_HYPOTHESIS", "ci"))
