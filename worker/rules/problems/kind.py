"""The kind of a problem, and the words that the catalogue's texts share.

Screens of ConnectWise: connectwise-api.md 2.3, peers.md (e).
"""

from dataclasses import dataclass

from messages import Fixer

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
