"""The link from a problem to the record in ConnectWise that it is about."""

from cwclient import agreement_link, company_link
from messages import Problem
from store.connections import ConnectionVersion
from store.mappings import Mapping
from worker.rules.problems import CATALOGUE


def with_link(problem: Problem, connection: ConnectionVersion | None, mapping: Mapping | None) -> Problem:
    """Return the problem, if it is about a record, with a link to the mapped agreement, or else the mapped company.

    `mapping` was made under this connection's ConnectWise.
    """
    if connection is None or mapping is None or mapping.cw_company_id is None or not CATALOGUE[problem.code].of_record:
        return problem
    site, company = connection.site_url or "", connection.company_identifier or ""
    if mapping.agreement_id is not None:
        link = agreement_link(site, company, mapping.agreement_id)
    else:
        link = company_link(site, company, mapping.cw_company_id)
    return problem.model_copy(update={"link": link})
