"""Problems of a line: the partner has to connect ConnectWise or to map companies first."""

from worker.rules.problems.kind import ADDITIONS, COORDINATOR, ProblemKind

SETUP = (
    ProblemKind(
        "not_connected",
        "ConnectWise is not connected",
        "There is no connection to ConnectWise for this account, or it was disconnected.",
        "Connect ConnectWise with its Company ID, URL and keys, then push again.",
        COORDINATOR,
    ),
    ProblemKind(
        "connection_not_received",
        "The saved connection has not arrived",
        "The push was made under a ConnectWise connection that did not arrive within a minute.",
        "Save the ConnectWise connection again, then push again.",
        COORDINATOR,
    ),
    ProblemKind(
        "mapping_not_received",
        "The saved mapping has not arrived",
        "The push was made under a mapping of this company that did not arrive within a minute.",
        "Save the mapping of this company again, then push again.",
        COORDINATOR,
    ),
    ProblemKind(
        "unmapped",
        "Not mapped",
        "This company is not mapped to ConnectWise, so its users are not billed.",
        "Choose a ConnectWise company, agreement and addition for it, then push again.",
        COORDINATOR,
    ),
    ProblemKind(
        "mapping_unfinished",
        "Mapping not finished",
        "A ConnectWise company or agreement is chosen, but no addition yet.",
        "Choose the agreement and the addition for this company, then push again.",
        COORDINATOR,
    ),
    ProblemKind(
        "map_again",
        "Mapped under another ConnectWise",
        "This mapping was made while another ConnectWise was connected; its ids mean other records there.",
        "Choose the ConnectWise company, agreement and addition again, then push again.",
        COORDINATOR,
    ),
    ProblemKind(
        "shared_addition",
        "One addition, several companies",
        "Addition {addition} is shared by {companies}, and not all of their mappings allow it.",
        "Check first whether this addition is really meant for each of the companies named. If not, choose the right "
        "one for those companies; if it is, set all of their mappings to be summed.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "sharing_refused",
        "Another company's mapping stops the sum",
        "The addition is shared with {company}, whose mapping cannot be billed: {why}",
        "Mend the mapping of that company, or map it to an addition of its own, then push both again.",
        COORDINATOR,
    ),
    ProblemKind(
        "group_incomplete",
        "Not all companies of the sum were pushed",
        "The addition is the sum of several companies; no count came for: {missing}.",
        "Push all companies that share the addition together.",
        COORDINATOR,
    ),
)
