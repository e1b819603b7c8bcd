"""Every problem that a billing coordinator may read: what happened, and what to do about it.

The codes are a contract: portals and support key on them. ConnectWise's own words are quoted, never relied on.
"""

from datetime import datetime

from messages import Problem, plain_text


def _problem(code: str, title: str, detail: str, fix: str) -> Problem:
    # ConnectWise's words may be empty, long or unprintable.
    return Problem(code=code, title=plain_text(title, 256), detail=plain_text(detail) or title, fix=fix)


def _quantity(value: float | None) -> str:
    return "empty" if value is None else f"{value:g}"


# --- what the partner has to set up first

NOT_CONNECTED = _problem(
    "not_connected",
    "ConnectWise is not connected",
    "There is no connection to ConnectWise for this account, or it was disconnected.",
    "Connect ConnectWise with its Company ID, URL and keys, then push again.",
)
CONNECTION_NOT_RECEIVED = _problem(
    "connection_not_received",
    "The saved connection has not arrived",
    "The push was made under a ConnectWise connection that did not arrive within a minute.",
    "Save the ConnectWise connection again, then push again.",
)
MAPPING_NOT_RECEIVED = _problem(
    "mapping_not_received",
    "The saved mapping has not arrived",
    "The push was made under a mapping of this company that did not arrive within a minute.",
    "Save the mapping of this company again, then push again.",
)
UNMAPPED = _problem(
    "unmapped",
    "Not mapped",
    "This company is not mapped to ConnectWise, so its users are not billed.",
    "Choose a ConnectWise company, agreement and addition for it, then push again.",
)
MAPPING_UNFINISHED = _problem(
    "mapping_unfinished",
    "Mapping not finished",
    "A ConnectWise company or agreement is chosen, but no addition yet.",
    "Choose the agreement and the addition for this company, then push again.",
)
MAP_AGAIN = _problem(
    "map_again",
    "Mapped under another ConnectWise",
    "This mapping was made while another ConnectWise was connected; its ids mean other records there.",
    "Choose the ConnectWise company, agreement and addition again, then push again.",
)


def shared_addition(companies: list[str]) -> Problem:
    """Several companies are mapped to one addition, and at least one does not allow it."""
    return _problem(
        "shared_addition",
        "One addition, several companies",
        f"These companies are mapped to the same addition: {', '.join(companies)}.",
        "Give each company an addition of its own, or set all of their mappings to be summed.",
    )


def group_incomplete(missing: list[str]) -> Problem:
    """Companies summed into one addition, of which some have no count in this period."""
    return _problem(
        "group_incomplete",
        "Not all companies of the sum were pushed",
        f"The addition is the sum of several companies; no count came for: {', '.join(missing)}.",
        "Push all companies that share the addition together.",
    )


# --- what ConnectWise's records say

NOT_BILLABLE = _problem(
    "not_billable",
    "The addition is not billed",
    "In ConnectWise the addition's Bill setting is not Billable.",
    "Set the addition to Billable in ConnectWise, or map this company to another addition.",
)
ADDITION_ELSEWHERE = _problem(
    "addition_elsewhere",
    "The addition belongs to another agreement",
    "ConnectWise says that the mapped addition is not part of the mapped agreement.",
    "Choose the agreement and addition for this company again.",
)

AGREEMENT_ELSEWHERE = _problem(
    "agreement_elsewhere",
    "The agreement belongs to another company",
    "ConnectWise says that the mapped agreement is not one of the mapped company.",
    "Choose the company, agreement and addition again.",
)


def addition_cancelled(since: datetime | None) -> Problem:
    """The addition has been cancelled."""
    return _problem(
        "addition_cancelled",
        "The addition is cancelled",
        f"In ConnectWise the addition was cancelled{f' as of {since:%Y-%m-%d}' if since else ''}.",
        "Map this company to an addition that is active, or remove the cancelled date in ConnectWise.",
    )


def addition_not_begun(effective: datetime) -> Problem:
    """The addition starts in the future."""
    return _problem(
        "addition_not_begun",
        "The addition has not begun yet",
        f"In ConnectWise the addition is effective from {effective:%Y-%m-%d}.",
        "Wait until then, or correct the effective date in ConnectWise.",
    )


def addition_not_active(status: str) -> Problem:
    """The addition's own status is neither Active nor Cancelled."""
    return _problem(
        "addition_not_active",
        f"The addition is {status.lower()}",
        f"ConnectWise shows the addition's status as {status}.",
        "Map this company to an addition that is active.",
    )


def agreement_not_active(status: str) -> Problem:
    """The agreement is Cancelled, Expired or Inactive."""
    return _problem(
        f"agreement_{status.lower()}" if status in {"Cancelled", "Expired", "Inactive"} else "agreement_not_active",
        f"The agreement is {status.lower()}",
        f"ConnectWise shows the agreement's status as {status}.",
        "Renew the agreement in ConnectWise, or map this company to an addition of an active agreement.",
    )


def record_not_found(said: str) -> Problem:
    """404, and not because of a moved base URL."""
    return _problem(
        "record_not_found",
        "Not found in ConnectWise",
        f"The mapped agreement or addition does not exist any more. ConnectWise said: {said}",
        "Choose the agreement and addition for this company again.",
    )


def record_refused(said: str) -> Problem:
    """A 4xx that concerns this record."""
    return _problem(
        "record_refused",
        "ConnectWise refused the change",
        f"ConnectWise said: {said}",
        "Open the agreement in ConnectWise, correct what it names, then push again.",
    )


def not_kept(wanted: float, got: float | None) -> Problem:
    """200, but with another quantity."""
    return _problem(
        "not_kept",
        "The quantity did not stick",
        f"ConnectWise accepted {_quantity(wanted)} but shows {_quantity(got)}.",
        "Check the addition in ConnectWise for a rule that changes its quantity, then push again.",
    )


def older_period(newest: str) -> Problem:
    """A newer period has been written to this addition."""
    return _problem(
        "older_period",
        "An older billing period",
        f"This addition already holds the quantity of a newer period ({newest}).",
        "Push the newest period; push this one again with a confirmation if it is really meant.",
    )


# --- the connection as a whole

KEY_UNREADABLE = _problem(
    "key_unreadable",
    "The saved keys cannot be used",
    "The private key was not saved for this account and this ConnectWise.",
    "Enter the ConnectWise keys again.",
)
SEAL_KEY_UNKNOWN = _problem(
    "seal_key_unknown",
    "The saved keys cannot be opened",
    "The private key was sealed with a key that is not known here, or not any more.",
    "Enter the ConnectWise keys again; if that does not help, contact support.",
)
BAD_CREDENTIALS = _problem(
    "bad_credentials",
    "ConnectWise refused the keys",
    "The public key or the private key is wrong, or the API member was disabled.",
    "Create new API keys for the API member in ConnectWise and save them here.",
)
RESTRICTED_AGREEMENT = _problem(
    "restricted_agreement",
    "This agreement is hidden from the API member",
    "The API member may read agreements, but not this one: its type is not allowed in the security role.",
    "In the security role, Finance > Agreements > customize: allow this agreement's type.",
)
CLIENT_ID_REFUSED = _problem(
    "client_id",
    "We are fixing a setting of ours",
    "ConnectWise refused the identification of this integration. Your settings are not the cause.",
    "Nothing to do: the push goes on by itself.",
)
CERTIFICATE_REFUSED = _problem(
    "certificate",
    "The server's certificate is not trusted",
    "The ConnectWise server shows a certificate that no known authority has issued for its name.",
    "Install a full certificate chain on the server, or upload your certificate authority with the connection.",
)

RIGHTS_FIX = {
    "Companies > Company Maintenance: Inquire (All)": "set Companies > Company Maintenance > Inquire to All",
    "Finance > Agreements: Inquire (All)": "set Finance > Agreements > Inquire to All",
    "Finance > Agreements: Edit (All)": "set Finance > Agreements > Edit to All",
}


def missing_right(right: str) -> Problem:
    """The security role lacks a right; `right` is a key of RIGHTS_FIX."""
    return _problem(
        "missing_right",
        "A right is missing in ConnectWise",
        f"The security role of the API member lacks: {right}.",
        f"In ConnectWise, System > Security Roles: {RIGHTS_FIX[right]}.",
    )


def wrong_address(said: str) -> Problem:
    """The URL is not one of ConnectWise's."""
    return _problem(
        "wrong_address",
        "The ConnectWise URL is wrong",
        said,
        "Enter the address that you use to log in to ConnectWise, for example https://na.myconnectwise.net.",
    )


def unknown_company(said: str) -> Problem:
    """ConnectWise does not know the Company ID."""
    return _problem(
        "unknown_company",
        "The Company ID is wrong",
        said,
        "Enter the Company ID exactly as on the ConnectWise login page; capitals may matter.",
    )


def unreachable(said: str) -> Problem:
    """ConnectWise does not answer."""
    return _problem(
        "unreachable",
        "ConnectWise does not answer",
        said,
        "Nothing to do: it is tried again. If it lasts, check that the ConnectWise server is up.",
    )


RATE_LIMITED = _problem(
    "rate_limited",
    "ConnectWise is busy",
    "ConnectWise limits the number of requests for the moment.",
    "Nothing to do: the push goes on by itself.",
)


def server_trouble(said: str) -> Problem:
    """ConnectWise answered with an error of its own."""
    return _problem(
        "server_trouble",
        "ConnectWise had an error",
        f"ConnectWise said: {said}",
        "Nothing to do: it is tried again.",
    )


def exhausted(last: Problem) -> Problem:
    """Tried for as long as RETRY_FOR allows."""
    return _problem(
        "exhausted",
        "Given up after many tries",
        f"{last.title}: {last.detail}",
        "Check that ConnectWise works, then push again.",
    )


# --- us

UNEXPECTED = _problem(
    "unexpected",
    "An internal error",
    "Something went wrong on our side. It was reported.",
    "Push again later; if it comes back, contact support.",
)
SUPERSEDED = _problem(
    "superseded",
    "A newer push took its place",
    "A newer push of this company and period was made.",
    "Nothing to do: see the newer push.",
)

CANCELLED = _problem(
    "cancelled",
    "The push was cancelled",
    "The push was cancelled before this company's quantity was written.",
    "Nothing to do; push again if it is to be billed.",
)


def refused_push(detail: str) -> Problem:
    """A push.requested that cannot be accepted."""
    return _problem("contract", "The push was not accepted", detail, "Correct the push and send it again.")


# --- reverts

OTHER_CONNECTWISE = _problem(
    "other_connectwise",
    "Written to another ConnectWise",
    "The push was made while another ConnectWise was connected; its records cannot be reached from here.",
    "Set the quantity back by hand in that ConnectWise, or connect it again and revert again.",
)
NOT_WRITTEN = _problem(
    "not_written",
    "Nothing to put back",
    "That push wrote no quantity for this company.",
    "Nothing to do.",
)
NOTHING_WRITTEN = _problem(
    "nothing_written",
    "Nothing to put back",
    "That push wrote no quantity to ConnectWise.",
    "Nothing to do. If another push was meant, revert that one.",
)
PUSH_UNKNOWN = _problem(
    "push_unknown",
    "The push is not known",
    "There is no push with this id, or it was too long ago.",
    "Check the id of the push that is to be reverted.",
)
PUSH_RUNNING = _problem(
    "push_running",
    "The push is still running",
    "That push is still at work on this company, or on another one that shares its addition.",
    "Wait until the push has finished, or cancel it; then revert it again.",
)


def revert_incomplete(others: list[str]) -> Problem:
    """Companies summed into one addition, of which only some are to be reverted."""
    return _problem(
        "revert_incomplete",
        "Not all companies of the sum are reverted",
        f"The push wrote the sum of several companies to one addition; not reverted with it: {', '.join(others)}.",
        "Revert all companies that share the addition together, or push the company again.",
    )


def several_additions(additions: list[tuple[int, int]]) -> Problem:
    """A push that was remapped while it ran has written to more than one (agreement id, addition id)."""
    named = ", ".join(f"addition {addition} of agreement {agreement}" for agreement, addition in additions)
    return _problem(
        "several_additions",
        "The push wrote to more than one addition",
        f"The company was mapped anew while the push ran, and it wrote to: {named}.",
        "Set these additions back by hand in ConnectWise; the ledger has their former quantities.",
    )


def no_former_quantity(before: float | None) -> Problem:
    """What was there before the push is no quantity that can be written."""
    return _problem(
        "no_former_quantity",
        "The former quantity cannot be put back",
        f"Before the push, the addition's quantity was {_quantity(before)}.",
        "Set the quantity by hand in ConnectWise.",
    )


def changed_since(former: float, ours: float, actual: float | None) -> Problem:
    """The addition does not hold any more what the push wrote."""
    return _problem(
        "changed_since",
        "Changed since the push",
        f"The push set {_quantity(ours)}, but ConnectWise holds {_quantity(actual)} by now: "
        f"somebody, or a newer push, has changed it. It was not set back to {_quantity(former)}.",
        "If the former quantity is right all the same, set it by hand in ConnectWise.",
    )
