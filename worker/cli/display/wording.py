"""Problems worded for the command line, naming its commands, options and settings.

`messages.Problem.fix` is worded for a portal, where users enter and upload things, and ask support.
"""

from messages import Problem
from worker.setting_names import PREFIX

_KEYS = "Run `connection set` again, with the Public Key and the Private Key"
_SITE = "Run `connection set` again with the address that you use to log in, for example --site na.myconnectwise.net."

_MAP_AGAIN = "Choose the records again by `catalog`, and map this company to them by `mapping set`."
_CONFIRM = "If it is held and right all the same, push again with --confirm."

FIXES = {
    "not_connected": "Connect ConnectWise by `connection set`, then push again.",
    "connection_not_received": "Run `connection set` again, then push again.",
    "mapping_not_received": "Run `mapping set` again for this company, then push again.",
    "unmapped": "Map it by `mapping set`, or many by `mapping suggest` and `mapping import`, then push again.",
    "mapping_unfinished": "Run `mapping set` with --agreement and --addition (`catalog` lists them), then push again.",
    "map_again": "Choose company, agreement and addition again by `mapping set` or `mapping import`, then push again.",
    "shared_addition": (
        "Check first whether this addition is really meant for each of the companies named. If not, map those companies"
        " to the right one; if it is, map all of them by `mapping set --rule sum`."
    ),
    "not_billable": (
        "Set the addition to Billable in ConnectWise, or map this company to another one. If it is counted for its cost"
        " only, map it by `mapping set --allow-not-billable`."
    ),
    "addition_elsewhere": _MAP_AGAIN,
    "agreement_elsewhere": _MAP_AGAIN,
    "record_not_found": _MAP_AGAIN,
    "names_differ": (
        "Check that this is the customer who is meant. If it is, nothing is to be done; if not, map this company again"
        " by `mapping set`."
    ),
    "addition_cancelled": (
        f"Map this company to an addition that is active, or remove the cancelled date in ConnectWise. {_CONFIRM}"
    ),
    "addition_not_begun": (
        f"Push a period that begins then or later, or correct the effective date in ConnectWise. {_CONFIRM}"
    ),
    "agreement_cancelled": (
        "Map this company to an addition of an active agreement, or take the cancellation back in ConnectWise."
        f" {_CONFIRM}"
    ),
    "agreement_expired": (
        f"Renew the agreement in ConnectWise, or map this company to an addition of an active one. {_CONFIRM}"
    ),
    "agreement_not_begun": (
        "Push a period that begins then or later, map to an agreement that has begun, or correct its start date in"
        f" ConnectWise. {_CONFIRM}"
    ),
    "older_period": "Push the newest period. If this one is really meant, push it again with --confirm.",
    "zero": "If that is right, push again with --confirm; otherwise check the company's users in Phin.",
    "big_jump": "If that is right, push again with --confirm; otherwise check the company's users and its mapping.",
    "below_included": "If that is right, push again with --confirm; otherwise correct Less Included of the addition.",
    "changed_elsewhere": "Find out who changed it and why; push again with --confirm if it may be overwritten.",
    "push_unknown": "Check the id: `ledger list` and `status` name pushes.",
    "push_running": "Wait until the push has finished, or stop it by `push cancel`; then revert it again.",
    "several_additions": "Set these additions back by hand in ConnectWise; `ledger list` has their former quantities.",
    "key_mismatch": f"{_KEYS} of this --company-identifier and --site.",
    "key_unreadable": f"{_KEYS}.",
    "seal_key_unknown": (
        f"Put the seal key that is missing back into {PREFIX}SEAL_KEYS, behind the current one; or {_KEYS[0].lower()}"
        f"{_KEYS[1:]}."
    ),
    "bad_credentials": (
        "Run `connection set` again, in case that a key was mistyped: the keys that were set before are gone. If both"
        " are right, create new API keys for the API member in ConnectWise, and set both."
    ),
    "api_version": (
        f"Set {PREFIX}API_VERSION to one that this ConnectWise serves, and start the worker again; pushes then go on."
    ),
    "request_refused": "See the worker's log, and report what ConnectWise said; once it is mended pushes go on.",
    "seal_key_missing": (
        f"Put the seal key that is missing back into {PREFIX}SEAL_KEYS, behind the current one, and start the worker"
        " again; pushes then go on. If it is lost, run `connection set` again."
    ),
    "client_id": f"Correct {PREFIX}CLIENT_ID and start the worker again; pushes then go on by themselves.",
    "certificate_untrusted": (
        "Install the full certificate chain on the server, or name its authority by `connection set --ca-file`."
    ),
    "certificate_name": (
        "Run `connection set` with a --site that the certificate names, or install a certificate for this one."
    ),
    "ca_bundle_unreadable": "Run `connection set` again with a --ca-file in PEM format.",
    "hidden_agreements": (
        "In the security role, Finance > Agreements > customize: allow the types of these agreements. If they were"
        " deleted, map their companies again by `mapping set`."
    ),
    "api_refused": (
        "Check the Public Key and the Private Key. If they are right, ask the administrator of ConnectWise."
    ),
    "address_unreadable": _SITE,
    "address_not_https": "Run `connection set` again with https:// in front of --site.",
    "address_forbidden": (
        f"Check --site of `connection set`. If the server is in a private network, name its host in {PREFIX}"
        "ALLOW_PRIVATE_HOSTS."
    ),
    "host_unknown": _SITE,
    "not_connectwise": (
        f"{_SITE} If it is right, check --company-identifier, and whether a firewall answers in place of ConnectWise."
    ),
    "wrong_route": "Check --site and --company-identifier of `connection set` against the login page of ConnectWise.",
    "unknown_company": (
        "Run `connection set` with --company-identifier exactly as on the ConnectWise login page; capitals may matter."
    ),
    "unreachable": "Pushes are tried again by themselves. If it lasts, check --site, and that its server is up.",
    "paused": "`health` names who paused it, and why; `resume` lets it go on.",
    "server_trouble": "Pushes are tried again by themselves. If it lasts, ask who runs this ConnectWise.",
    "unexpected": "See the worker's log, and `dead-letters groups`; once it is mended, `dead-letters replay`.",
    "contract": "Correct what the message holds, and send it again.",
}
"""Fixes that differ from the catalogue's, by the code of the problem."""


TITLES = {
    "api_version": "ConnectWise refused the API version",
    "client_id": "ConnectWise refused the clientId",
    "request_refused": "ConnectWise refused the form of a request",
    "seal_key_missing": "A seal key is missing",
    "unexpected": "An internal error of the worker",
}
DETAILS = {
    "api_version": f"ConnectWise does not serve the version of {PREFIX}API_VERSION, and names no older one.",
    "client_id": f"ConnectWise does not know the clientId of {PREFIX}CLIENT_ID, or takes it from others only.",
    "seal_key_missing": f"The keys were sealed with a key that is not, or not any more, in {PREFIX}SEAL_KEYS.",
    "unexpected": "The worker met an error of its own.",
}
"""Details for an operator, who can mend these problems, by the code of the problem."""


def title(problem: Problem) -> str:
    """The title of the problem, for a terminal."""
    return TITLES.get(problem.code, problem.title)


def detail(problem: Problem) -> str:
    """The details of the problem, for a terminal."""
    return DETAILS.get(problem.code, problem.detail)


def fix(problem: Problem) -> str:
    """The fix of the problem, for a terminal."""
    return FIXES.get(problem.code, problem.fix)
