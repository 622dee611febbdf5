"""The limits of the language (language page, sections 1, 3 and 10), which a service may set otherwise."""

import dataclasses

from segments.contact import EVENTS_KEPT_MAX, VALUES_KEPT_MAX


@dataclasses.dataclass(frozen=True)
class Limits:
    """Settings of the core, with their defaults; times in ms.

    `events`: kept one by one of a contact for a condition. `values`: of `by`, `distinct` and `per`, each. `traits`: of a
    contact. `state_bytes`: of its encoded state. What goes beyond these is dropped, the oldest first, and counted in
    `limits_passed`. `depth` of a definition, the root being 1, and `conditions` of a segment: beyond is an error.
    """

    grace_ms: int = 2_000
    dedup_horizon_ms: int = 86_400_000
    future_ms: int = 300_000
    events: int = EVENTS_KEPT_MAX
    values: int = VALUES_KEPT_MAX
    traits: int = 1_000
    state_bytes: int = 900 * 1024
    depth: int = 16
    conditions: int = 256
