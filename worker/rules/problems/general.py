"""Problems that are about neither ConnectWise nor the partner's settings."""

from worker.rules.problems.kind import NOBODY, SUPPORT, ProblemKind

GENERAL = (
    ProblemKind(
        "unexpected",
        "An internal error",
        "Something went wrong on our side. It was reported.",
        "Try again later; if it comes back, contact support.",
        SUPPORT,
    ),
    ProblemKind(
        "superseded",
        "A newer push took its place",
        "A newer push of this company and period was made.",
        "Nothing to do: see the newer push.",
        NOBODY,
    ),
    ProblemKind(
        "cancelled",
        "The push was cancelled",
        "The push was cancelled before this company's quantity was written.",
        "Nothing to do; push again if it is to be billed.",
        NOBODY,
    ),
    ProblemKind(
        "contract",
        "The message was not accepted",
        "{reason}",
        "Correct what was sent and send it again.",
        SUPPORT,
    ),
)
