"""The catalogue of problems: what happened, what to do about it, where in ConnectWise, and who can.

The codes are a contract: portals and support key on them. ConnectWise's own words stand beside ours (`said`), never in
them. `make docs` writes docs/problems.md from it. Screens of ConnectWise: connectwise-api.md 2.3, peers.md (e).

Long as it is, it is one table: whoever changes a text, or looks for a code, finds all of them here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from messages import Fixer, Problem, plain_text

COORDINATOR: Fixer = "billing_coordinator"
ADMINISTRATOR: Fixer = "connectwise_administrator"
SUPPORT: Fixer = "phin_support"
NOBODY: Fixer = "nobody"

ADDITIONS = "Finance > Agreements > the agreement > Additions"
AGREEMENT = "Finance > Agreements > the agreement"
COMPANIES = "Companies > Companies"
API_KEYS = "System > Members > API Members > the API member > API Keys"
MY_COMPANY = "System > My Company"
ROLE = "System > Security Roles > the role of the API member"

COMPANY_INQUIRE = "Companies > Company Maintenance: Inquire (All)"
AGREEMENT_INQUIRE = "Finance > Agreements: Inquire (All)"
AGREEMENT_EDIT = "Finance > Agreements: Edit (All)"
MISSING_RIGHT = {
    COMPANY_INQUIRE: "missing_company_inquire",
    AGREEMENT_INQUIRE: "missing_agreement_inquire",
    AGREEMENT_EDIT: "missing_agreement_edit",
}
"""The code of the problem that a right of the security role is missing. No other rights are needed."""

MAX_SAID = 500


@dataclass(frozen=True)
class ProblemKind:
    """One kind of problem. `detail` says what happened; its {fields} are filled in by `problem`.

    `where` is the path of the screen in ConnectWise, None if nothing is to be done there. `of_record`: it is about the
    mapped records, so a link to them helps.
    """

    code: str
    title: str
    detail: str
    fix: str
    who: Fixer
    where: str | None = None
    of_record: bool = False


_OF_LINES = (
    # --- what the partner has to set up first
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
        "Give each company an addition of its own, or set all of their mappings to be summed.",
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
    # --- what ConnectWise's records say
    ProblemKind(
        "not_billable",
        "The addition is not billed",
        "In ConnectWise the addition's Bill setting is not Billable.",
        "Set the addition to Billable in ConnectWise, or map this company to another addition. If it is counted "
        "for its cost only, allow in this company's mapping that it is not billable.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "addition_elsewhere",
        "The addition belongs to another agreement",
        "ConnectWise says that the mapped addition is not part of the mapped agreement.",
        "Choose the agreement and addition for this company again.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "agreement_elsewhere",
        "The agreement belongs to another company",
        "ConnectWise says that the mapped agreement is not one of the mapped company.",
        "Choose the company, agreement and addition again.",
        COORDINATOR,
        AGREEMENT,
        of_record=True,
    ),
    ProblemKind(
        "company_deleted",
        "The company is deleted",
        "The mapped company is deleted in ConnectWise, or lies in its recycle bin.",
        "Choose the company that has taken its place, with its agreement and addition, or restore it in ConnectWise.",
        COORDINATOR,
        COMPANIES,
        of_record=True,
    ),
    ProblemKind(
        "product_changed",
        "The addition's product was changed",
        "When this company was mapped the addition's product was {before}; now it is {now}.",
        "Check in ConnectWise what this addition bills, then choose the addition for this company again.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "old_addition_holds",
        "The old addition still has a quantity",
        "This company's users of {period} were written to addition {addition}, which it is not mapped to any more.",
        "Set the quantity of the old addition in ConnectWise by hand, or revert that push.",
        COORDINATOR,
        ADDITIONS,
    ),
    ProblemKind(
        "addition_cancelled",
        "The addition is cancelled",
        "In ConnectWise the addition is cancelled; its cancelled date is {since}.",
        "Map this company to an addition that is active, or remove the cancelled date in ConnectWise. A line that is "
        "held for it can be confirmed in a new push.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "addition_not_begun",
        "The addition has not begun yet",
        "In ConnectWise the addition is effective from {effective}.",
        "Push a period that begins then or later, or correct the effective date in ConnectWise. A line that is held "
        "for it can be confirmed in a new push.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "addition_not_active",
        "The addition is not active",
        "ConnectWise shows the addition's status as {status}.",
        "Map this company to an addition that is active.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "agreement_cancelled",
        "The agreement is cancelled",
        "ConnectWise says of the agreement: {status}.",
        "Map this company to an addition of an active agreement, or take the cancellation back in ConnectWise. A line "
        "that is held for it can be confirmed in a new push.",
        COORDINATOR,
        AGREEMENT,
        of_record=True,
    ),
    ProblemKind(
        "agreement_expired",
        "The agreement is expired",
        "ConnectWise says of the agreement: {status}.",
        "Renew the agreement in ConnectWise, or map this company to an addition of an active agreement. A line that is "
        "held for it can be confirmed in a new push.",
        COORDINATOR,
        AGREEMENT,
        of_record=True,
    ),
    ProblemKind(
        "agreement_inactive",
        "The agreement is inactive",
        "ConnectWise shows the agreement's status as {status}.",
        "Check the agreement's start date in ConnectWise, or map this company to an addition of an active agreement.",
        COORDINATOR,
        AGREEMENT,
        of_record=True,
    ),
    ProblemKind(
        "agreement_not_active",
        "The agreement is not active",
        "ConnectWise shows the agreement's status as {status}.",
        "Activate the agreement in ConnectWise, or map this company to an addition of an active agreement.",
        COORDINATOR,
        AGREEMENT,
        of_record=True,
    ),
    ProblemKind(
        "agreement_not_begun",
        "The agreement has not begun yet",
        "In ConnectWise the agreement starts on {start}.",
        "Push a period that begins then or later, choose an agreement that has begun, or correct the start date in "
        "ConnectWise. A line that is held for it can be confirmed in a new push.",
        COORDINATOR,
        AGREEMENT,
        of_record=True,
    ),
    ProblemKind(
        "record_not_found",
        "Not found in ConnectWise",
        "The mapped agreement or addition does not exist any more.",
        "Choose the agreement and addition for this company again.",
        COORDINATOR,
        AGREEMENT,
        of_record=True,
    ),
    ProblemKind(
        "record_refused",
        "ConnectWise refused the change",
        "ConnectWise did not take the new quantity, and says why.",
        "Open the agreement in ConnectWise, correct what it names, then push again.",
        COORDINATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "record_busy",
        "The record is in use",
        "ConnectWise did not take the new quantity for now, as somebody or something else holds the record.",
        "Pushes are tried again by themselves. If it lasts, close the agreement wherever it is open in ConnectWise.",
        NOBODY,
        of_record=True,
    ),
    ProblemKind(
        "record_denied",
        "ConnectWise denies this record",
        "ConnectWise answered {reason} for this agreement or addition, but takes other calls of the same API member.",
        "In ConnectWise check whether the API member may see and change this agreement: its type in the security role "
        "(Finance > Agreements > customize), and the agreement itself. Then push again.",
        ADMINISTRATOR,
        f"{ROLE} > Finance > Agreements > customize",
        of_record=True,
    ),
    ProblemKind(
        "not_kept",
        "The quantity did not stick",
        "ConnectWise accepted the quantity {wanted} but shows {got}.",
        "Check the addition in ConnectWise for a rule that changes its quantity, then push again.",
        ADMINISTRATOR,
        ADDITIONS,
        of_record=True,
    ),
    ProblemKind(
        "older_period",
        "An older billing period",
        "This addition already holds the quantity of a newer period ({newest}).",
        "Push the newest period; push this one again with a confirmation if it is really meant.",
        COORDINATOR,
        of_record=True,
    ),
    # --- what is unusual besides: held until somebody has looked at it and confirms it
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
    # --- reverts
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

_OF_CONNECTION = (
    ProblemKind(
        "key_mismatch",
        "The saved keys belong to something else",
        "The Private Key was not saved for this {fields}.",
        "Enter the Public Key and the Private Key again, together with the Company ID and the ConnectWise URL.",
        COORDINATOR,
    ),
    ProblemKind(
        "key_unreadable",
        "The saved keys are damaged",
        "The Private Key as it was saved cannot be read.",
        "Enter the Private Key again; if that does not help, contact support.",
        COORDINATOR,
    ),
    ProblemKind(
        "seal_key_unknown",
        "The saved keys cannot be opened",
        "The private key was sealed with a key that is not known here, or not any more.",
        "Enter the Private Key again; if that does not help, contact support.",
        COORDINATOR,
    ),
    ProblemKind(
        "bad_credentials",
        "ConnectWise refused the keys",
        "The Public Key or the Private Key is wrong, or the API member was disabled.",
        "Create new API keys for the API member in ConnectWise and save both as Public Key and Private Key here.",
        ADMINISTRATOR,
        API_KEYS,
    ),
    ProblemKind(
        "client_id",
        "We are fixing a setting of ours",
        "ConnectWise refused the identification of this integration. Your settings are not the cause.",
        "Nothing to do: pushes go on by themselves.",
        SUPPORT,
    ),
    ProblemKind(
        "api_version",
        "We are adapting to your version of ConnectWise",
        "ConnectWise does not serve the version of its interface that we ask for. Your settings are not the cause.",
        "Nothing to do: pushes go on by themselves.",
        SUPPORT,
    ),
    ProblemKind(
        "request_refused",
        "We are mending a request of ours",
        "ConnectWise refuses the form of our requests, whatever record they are about: {reason}",
        "Nothing to do: pushes go on by themselves.",
        SUPPORT,
    ),
    ProblemKind(
        "certificate_untrusted",
        "The server's certificate is not trusted",
        "{reason} No known authority has issued it.",
        "Install the full certificate chain on the server, or upload your certificate authority with the connection.",
        ADMINISTRATOR,
    ),
    ProblemKind(
        "certificate_name",
        "The server's certificate is for another name",
        "{reason} The host in the ConnectWise URL is none of its names.",
        "Enter the ConnectWise URL with a name of the certificate, or install a certificate for the name in the URL.",
        ADMINISTRATOR,
    ),
    ProblemKind(
        "certificate_expired",
        "The server's certificate is not valid today",
        "{reason} It has expired, or begins later.",
        "Renew the certificate of the ConnectWise server.",
        ADMINISTRATOR,
    ),
    ProblemKind(
        "certificate",
        "The server's certificate cannot be verified",
        "{reason}",
        "Install a valid certificate with its full chain on the ConnectWise server.",
        ADMINISTRATOR,
    ),
    ProblemKind(
        "ca_bundle_unreadable",
        "The certificate authority cannot be read",
        "The file of certificates that was saved with the connection is damaged or of another kind.",
        "Upload the certificate authority of the ConnectWise server again, in PEM format.",
        COORDINATOR,
    ),
    ProblemKind(
        "missing_company_inquire",
        "The right to read companies is missing",
        f"The security role of the API member lacks: {COMPANY_INQUIRE}.",
        "In ConnectWise, System > Security Roles: set Companies > Company Maintenance > Inquire to All.",
        ADMINISTRATOR,
        f"{ROLE} > Companies > Company Maintenance > Inquire",
    ),
    ProblemKind(
        "missing_agreement_inquire",
        "The right to read agreements is missing",
        f"The security role of the API member lacks: {AGREEMENT_INQUIRE}.",
        "In ConnectWise, System > Security Roles: set Finance > Agreements > Inquire to All.",
        ADMINISTRATOR,
        f"{ROLE} > Finance > Agreements > Inquire",
    ),
    ProblemKind(
        "missing_agreement_edit",
        "The right to change agreements is missing",
        f"The security role of the API member lacks: {AGREEMENT_EDIT}.",
        "In ConnectWise, System > Security Roles: set Finance > Agreements > Edit to All. The next push proves it.",
        ADMINISTRATOR,
        f"{ROLE} > Finance > Agreements > Edit",
    ),
    ProblemKind(
        "missing_both_inquire",
        "The rights to read companies and agreements are missing",
        f"The security role of the API member lacks: {COMPANY_INQUIRE}, and {AGREEMENT_INQUIRE}.",
        "In ConnectWise, System > Security Roles: set Companies > Company Maintenance > Inquire to All, and "
        "Finance > Agreements > Inquire to All. Check that the API member has this role.",
        ADMINISTRATOR,
        ROLE,
    ),
    ProblemKind(
        "no_companies",
        "The API member sees no companies",
        "ConnectWise accepts the keys, but shows the API member not a single company.",
        "In ConnectWise, System > Security Roles: set Companies > Company Maintenance > Inquire to All, not My.",
        ADMINISTRATOR,
        f"{ROLE} > Companies > Company Maintenance > Inquire",
    ),
    ProblemKind(
        "no_agreements",
        "The API member sees no agreements",
        "ConnectWise shows the API member companies, but not a single agreement.",
        "In the security role set Finance > Agreements > Inquire to All, and under customize allow all types. If there "
        "is no agreement in ConnectWise yet, create one first.",
        ADMINISTRATOR,
        f"{ROLE} > Finance > Agreements > customize",
    ),
    ProblemKind(
        "hidden_agreements",
        "Mapped agreements are hidden",
        "ConnectWise does not show these mapped agreements to the API member: {agreements}.",
        "In the security role, Finance > Agreements > customize: allow the types of these agreements. "
        "If they were deleted, map their companies again.",
        ADMINISTRATOR,
        f"{ROLE} > Finance > Agreements > customize",
    ),
    ProblemKind(
        "api_refused",
        "ConnectWise refused the test call",
        "ConnectWise knows the Company ID, but refuses to count its companies and agreements: {reason}",
        "Check the Public Key and the Private Key. If they are right, contact support with what ConnectWise said.",
        SUPPORT,
    ),
    ProblemKind(
        "address_unreadable",
        "The ConnectWise URL cannot be read",
        "{reason}",
        "Correct the ConnectWise URL: the address that you use to log in, for example https://na.myconnectwise.net.",
        COORDINATOR,
        MY_COMPANY,
    ),
    ProblemKind(
        "address_not_https",
        "The ConnectWise URL has no https",
        "The ConnectWise URL begins with http://, over which keys could be read by others.",
        "Enter the ConnectWise URL with https:// in front.",
        COORDINATOR,
        MY_COMPANY,
    ),
    ProblemKind(
        "address_forbidden",
        "The ConnectWise URL leads to a place that is not allowed",
        "{reason}",
        "Check the ConnectWise URL. If your server is only reachable in a private network, contact support.",
        COORDINATOR,
        MY_COMPANY,
    ),
    ProblemKind(
        "host_unknown",
        "The host in the ConnectWise URL does not exist",
        "{reason}",
        "Correct the ConnectWise URL: the address that you use to log in, for example https://na.myconnectwise.net.",
        COORDINATOR,
        MY_COMPANY,
    ),
    ProblemKind(
        "not_connectwise",
        "The ConnectWise URL leads to something else",
        "{reason}",
        "Correct the ConnectWise URL: the address that you use to log in, for example https://na.myconnectwise.net. "
        "If it is right, check the Company ID, and whether a firewall answers in place of ConnectWise.",
        COORDINATOR,
        MY_COMPANY,
    ),
    ProblemKind(
        "wrong_route",
        "The ConnectWise URL and the Company ID do not belong together",
        "ConnectWise answers at this URL, but does not know where to send calls for this Company ID: {reason}",
        "Check both the ConnectWise URL and the Company ID against the page where you log in to ConnectWise.",
        COORDINATOR,
        MY_COMPANY,
    ),
    ProblemKind(
        "unknown_company",
        "The Company ID is wrong",
        "{reason}",
        "Enter the Company ID exactly as on the ConnectWise login page; capitals may matter.",
        COORDINATOR,
        MY_COMPANY,
    ),
    ProblemKind(
        "unreachable",
        "ConnectWise does not answer",
        "The server of ConnectWise cannot be reached: {reason}",
        "Pushes are tried again by themselves. If it lasts, check the ConnectWise URL, and that its server is up.",
        COORDINATOR,
    ),
    ProblemKind(
        "gateway_refused",
        "Something in front of ConnectWise stops our requests",
        "A proxy, firewall or web server on the way refuses the requests, whatever they are about: {reason}",
        "Let it pass GET and PATCH requests to the API of ConnectWise. Pushes are tried again by themselves.",
        ADMINISTRATOR,
    ),
    ProblemKind(
        "moved",
        "ConnectWise has moved to another address",
        "ConnectWise does not answer at the address of its API that was found a moment ago: {reason}",
        "Nothing to do: the address is looked up again within minutes, and pushes go on by themselves.",
        NOBODY,
    ),
    ProblemKind(
        "rate_limited",
        "ConnectWise is busy",
        "ConnectWise limits the number of requests for the moment.",
        "Nothing to do: pushes go on by themselves.",
        NOBODY,
    ),
    ProblemKind(
        "paused",
        "Paused",
        "ConnectWise of this account is left alone for now, by decision of an operator.",
        "Try again later, or ask support when work goes on.",
        SUPPORT,
    ),
    ProblemKind(
        "server_trouble",
        "ConnectWise had an error",
        "ConnectWise was reached, but had an error: {reason}",
        "Pushes are tried again by themselves. If it lasts, contact the support of ConnectWise.",
        NOBODY,
        of_record=True,
    ),
    ProblemKind(
        "exhausted",
        "Given up after many tries",
        "It was tried for as long as it makes sense. The last answer was: {last}",
        "Check that ConnectWise works, then push again.",
        COORDINATOR,
        of_record=True,
    ),
)

_OURS = (
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

CATALOGUE = {entry.code: entry for entry in (*_OF_LINES, *_OF_CONNECTION, *_OURS)}
"""Every problem by its code, in the order of docs/problems.md."""

OF_CONNECTION = frozenset({"not_connected", "connection_not_received", *(entry.code for entry in _OF_CONNECTION)})
"""Codes of what all lines of a partner meet alike."""


def problem(code: str, *, said: str | None = None, **fields: object) -> Problem:
    """The problem of this code, with the {fields} of its detail; `said` are ConnectWise's own words.

    Fields may be text, numbers, dates, lists of text, or None. Raises KeyError for a code or field that is not there.
    """
    entry = CATALOGUE[code]
    detail = entry.detail.format_map({name: _shown(value) for name, value in fields.items()})
    return Problem(
        code=code,
        title=entry.title,
        # What comes from outside may be empty, long or unprintable.
        detail=plain_text(detail) or entry.title,
        fix=entry.fix,
        where=entry.where,
        who=entry.who,
        said=plain_text(said or "", MAX_SAID) or None,
    )


def exhausted(last: Problem) -> Problem:
    """Tried for as long as RETRY_FOR allows; `last` stood in the way to the end."""
    return problem("exhausted", last=f"{last.title}. {last.detail}", said=last.said)


def one_line(problem: Problem) -> str:
    """All that happened, on one line: for logs and dead letters."""
    said = f" ConnectWise said: {problem.said}" if problem.said else ""
    return f"{problem.title}: {problem.detail}{said}"


def perhaps_written(problem: Problem) -> Problem:
    """The line failed for this reason, and how a change of its quantity ended before is not known."""
    detail = f"{problem.detail} The quantity may have been changed before: how that change ended is not known."
    return problem.model_copy(update={"detail": plain_text(detail)})


def _shown(value: object) -> str:
    match value:
        case None:
            return "not set"
        case float():
            return f"{value:g}"
        case datetime():
            return f"{value:%Y-%m-%d}"
        case str():
            return value
        case Iterable():
            return ", ".join(map(_shown, value))
    return str(value)
