"""Links that open a record in the browser, for somebody who is logged in to ConnectWise or then logs in.

The form is not in ConnectWise's published documents. Independent public programs build the same, among them
django-connectwise (djconnectwise/models.py) and the report-writer pages of betterinvoice.io: the literal `v4_6_release`
serves cloud and on-premise alike. No record type of an addition is known, so an addition is shown by its agreement.
"""

from urllib.parse import quote, urlencode

from cwclient.address import CLOUD_DOMAINS, parse_site
from cwclient.errors import InvalidSite

_PATH = "/v4_6_release/services/system_io/router/openrecord.rails"


def agreement_link(site_url: str, company_identifier: str, agreement_id: int) -> str | None:
    """The address at which the agreement opens in ConnectWise; None if the site cannot be read."""
    return _link(site_url, company_identifier, "AgreementFV", agreement_id)


def company_link(site_url: str, company_identifier: str, company_id: int) -> str | None:
    """The address at which the company opens in ConnectWise; None if the site cannot be read."""
    return _link(site_url, company_identifier, "CompanyFV", company_id)


def _link(site_url: str, company_identifier: str, record_type: str, record_id: int) -> str | None:
    try:
        site = parse_site(site_url)
    except InvalidSite:
        return None
    origin = site.origin
    if site.host.startswith("api-") and site.host.endswith(CLOUD_DOMAINS):
        # People log in at the host without the prefix, also in a region that CLOUD_API_HOSTS does not name.
        origin = origin.replace("://api-", "://", 1)
    query = {"locale": "en_US", "companyName": company_identifier, "recordType": record_type, "recid": str(record_id)}
    return f"{origin}{_PATH}?{urlencode(query, quote_via=quote, safe='')}"
