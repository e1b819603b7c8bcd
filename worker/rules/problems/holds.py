"""Problems of a line: a change is unusual, and is held until somebody has looked at it and confirms it."""

from worker.rules.problems.kind import ADDITIONS, ADMINISTRATOR, AGREEMENT, COORDINATOR, ROLE, ProblemKind

HOLDS = (
    ProblemKind(
        "zero",
        "No users any more",
        "No users are to be billed, where ConnectWise has {before}.",
        "If that is right, confirm it in a new push; otherwise check the company's users in Phin.",
        COORDINATOR,
        of_record=True,
    ),
    ProblemKind(
        "big_jump",
        "An unusually big change",
        "The quantity would go from {before} to {wanted}.",
        "If that is right, confirm it in a new push; otherwise check the company's users and its mapping.",
        COORDINATOR,
        of_record=True,
    ),
    ProblemKind(
        "below_included",
        "Nothing would be billed any more",
        "The addition includes {included} without charge, and the new quantity is not above that.",
        "If that is right, confirm it in a new push; otherwise correct Less Included of the addition in ConnectWise.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "changed_elsewhere",
        "Changed by someone else",
        "ConnectWise has {actual}; the last push set {ours}.",
        "Find out who changed it and why; confirm in a new push that it may be overwritten.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "maybe_invoiced",
        "The period may be invoiced already",
        "The agreement's next invoice is dated {next_invoice}, after this period. What is invoiced does not change.",
        "Check in ConnectWise whether the period's invoice is made; then bill the difference there.",
        COORDINATOR,
        AGREEMENT,
        of_record=True,
    ),
    ProblemKind(
        "restricted_agreement",
        "This agreement is hidden from the API member",
        "The API member may read agreements, but not this one: its type is not allowed in the security role.",
        "In the security role, Finance > Agreements > customize: allow this agreement's type.",
        ADMINISTRATOR,
        f"{ROLE} > Finance > Agreements > customize",
        of_record=True,
    ),
)
