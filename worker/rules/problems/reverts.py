"""Problems of a line: a revert cannot put the former quantity back."""

from worker.rules.problems.kind import ADDITIONS, COORDINATOR, NOBODY, ProblemKind

REVERTS = (
    ProblemKind(
        "other_connectwise",
        "Written to another ConnectWise",
        "The push was made while another ConnectWise was connected; its records cannot be reached from here.",
        "Set the quantity back by hand in that ConnectWise, or connect it again and revert again.",
        COORDINATOR,
    ),
    ProblemKind(
        "not_written",
        "Nothing to put back",
        "That push wrote no quantity for this company.",
        "Nothing to do: there is nothing to put back.",
        NOBODY,
    ),
    ProblemKind(
        "nothing_written",
        "Nothing to put back",
        "That push wrote no quantity to ConnectWise.",
        "Nothing to do. If another push was meant, revert that one.",
        NOBODY,
    ),
    ProblemKind(
        "push_unknown",
        "The push is not known",
        "There is no push with this id, or it was too long ago.",
        "Check the id of the push that is to be reverted.",
        COORDINATOR,
    ),
    ProblemKind(
        "push_running",
        "The push is still running",
        "That push is still at work on this company, or on another one that shares its addition.",
        "Wait until the push has finished, or cancel it; then revert it again.",
        COORDINATOR,
    ),
    ProblemKind(
        "revert_incomplete",
        "Not all companies of the sum are reverted",
        "The push wrote the sum of several companies to one addition; not reverted with it: {others}.",
        "Revert all companies that share the addition together, or push the company again.",
        COORDINATOR,
    ),
    ProblemKind(
        "several_additions",
        "The push wrote to more than one addition",
        "The company was mapped anew while the push ran, and it wrote to the additions {additions}.",
        "Set these additions back by hand in ConnectWise; the ledger has their former quantities.",
        COORDINATOR,
        ADDITIONS,
    ),
    ProblemKind(
        "no_former_quantity",
        "The former quantity cannot be put back",
        "Before the push, the addition's quantity was {before}.",
        "Set the quantity by hand in ConnectWise.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "changed_since",
        "Changed since the push",
        "The push set {ours}, but ConnectWise holds {actual} by now: it was not set back to {former}.",
        "Somebody, or a newer push, has changed it. If the former quantity is right all the same, set it by hand.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "pushed_since",
        "A newer push wants this quantity",
        "Since that push another one, of the period {period}, has set the addition or found it as it wants it.",
        "Nothing to do if that push is right. Else push the company again, or set the quantity by hand.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
)
