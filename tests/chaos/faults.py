"""The faults of the simulated ConnectWise in a run: every kind that it knows, on 10 % of the requests.

Most pass. The few that fail all lines of a partner, and those that cost the machine much, strike a few times only:
otherwise no push would get through.
"""

import random
from collections.abc import Sequence
from typing import Any

# More than 10 %, since the faults that hit only PATCH let other requests pass.
SHARE = 0.13
PASSING: Sequence[dict[str, Any]] = (
    {"kind": "latency", "seconds": 0.5},
    {"kind": "status", "status": 429, "retry_after": 1},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 502},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 504},
    {"kind": "html", "status": 503},
    {"kind": "html", "status": 200},
    {"kind": "reset"},
    {"kind": "lost_response"},
    {"kind": "lost_response", "match": {"method": "PATCH"}},
    {"kind": "broken_json"},
    {"kind": "not_kept", "match": {"method": "PATCH"}},
)
# The client waits for its whole time limit.
SLOW: Sequence[dict[str, Any]] = (
    {"kind": "hang", "applied": True},
    {"kind": "hang", "applied": False},
    {"kind": "slow_drip"},
)
RARE: Sequence[dict[str, Any]] = (
    {"kind": "status", "status": 401},
    {"kind": "status", "status": 403},
    {"kind": "missing_right"},
    {"kind": "missing_client_id"},
    {"kind": "redirect", "location": "https://169.254.169.254/"},
    {"kind": "status", "status": 404},
    {"kind": "html", "status": 404},
    {"kind": "huge_body", "size": 20 * 1024 * 1024},
    {"kind": "endless_body"},
)
SLOW_SHARE, RARE_SHARE, RARE_TIMES = 0.002, 0.0005, 4


def faults(seed: int) -> list[dict[str, Any]]:
    """The document for the simulator's control route."""
    chance = random.Random(f"{seed} faults")
    rest = SHARE - SLOW_SHARE * len(SLOW) - RARE_SHARE * len(RARE)
    chosen = [
        *({**fault, "probability": RARE_SHARE, "times": RARE_TIMES} for fault in RARE),
        *({**fault, "probability": SLOW_SHARE} for fault in SLOW),
        *({**fault, "probability": rest / len(PASSING)} for fault in PASSING),
    ]
    return [fault | {"seed": chance.getrandbits(31)} for fault in chosen]
