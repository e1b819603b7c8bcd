"""The likely successor of a mapping that has gone bad."""

from collections.abc import Callable
from datetime import datetime

import structlog

from cwclient import ConnectWiseError
from messages import Successor
from store import StoreError
from store.mappings import Addition, Mapping
from worker.catalog.choices import addition_choice, agreement_choice
from worker.catalog.suggestions import propose, searched
from worker.connectwise.session import ConnectWiseSession
from worker.rules.errors import RestrictedAgreement, RightRefused, Unconfirmed

log = structlog.get_logger()

# The errors of a read that a check can do without.
NOT_READ = (ConnectWiseError, Unconfirmed, RestrictedAgreement, RightRefused)


def likely_successor(
    session: ConnectWiseSession,
    mapping: Mapping,
    read_taken: Callable[[], frozenset[Addition]],
    product: str | None,
    now: datetime,
    before_page: Callable[[], None],
) -> Successor | None:
    """Return the only live addition of the company's active agreements that has the product, or looks like Phin's.

    `read_taken` reads the additions that companies are mapped to already; these are left out.
    """
    company_id = mapping.cw_company_id
    if company_id is None or mapping.addition is None:
        return None
    try:
        agreements = searched(agreement_choice(found, now) for found in session.agreements([company_id], before_page))
        additions = {
            choice.id: [
                addition_choice(addition, choice.id, now) for addition in session.additions(choice.id, before_page)
            ]
            for choice in agreements
        }
        taken = read_taken()
    except (*NOT_READ, StoreError) as error:
        # The findings count all the same; a successor is only a help.
        log.info("successor.not_found", company=mapping.company_id, error_type=type(error).__name__)
        return None
    alike = {key: [choice for choice in choices if choice.product == product] for key, choices in additions.items()}
    for offered in (alike, additions):
        agreement, addition = propose(agreements, offered, taken | {mapping.addition})
        if agreement is not None and addition is not None:
            return Successor(
                agreement_id=agreement.id,
                agreement_name=agreement.name,
                addition_id=addition.id,
                addition_name=addition.name,
                quantity=addition.quantity,
            )
    return None
