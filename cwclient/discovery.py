"""Finding the base URL of a tenant's API, from the login URL and the company identifier."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from cwclient.address import CLOUD_API_HOSTS, CLOUD_DOMAINS, Site, parse_site
from cwclient.errors import (
    ClientIdRefused,
    ConnectWiseError,
    ForbiddenHost,
    InvalidSite,
    NotConnectWise,
    RateLimited,
    ServerTrouble,
    UnknownCompany,
    WrongRoute,
)
from cwclient.models import CompanyInfo, read

if TYPE_CHECKING:
    from cwclient.transport import Transport

#: A cloud codebase changes with every upgrade; on-premise it is always the second form (connectwise-api.md 1.3).
_CODEBASE = re.compile(r"v[0-9]{4}_[0-9]{1,2}/|v4_6_release/")


@dataclass(frozen=True)
class BaseUrl:
    """The address of a tenant's API: `url` without a slash at its end, such as https://api-na.…/v2025_1/apis/3.0."""

    url: str
    company_name: str
    is_cloud: bool
    version_code: str


def discover(site_url: str, company_identifier: str, transport: "Transport") -> BaseUrl:
    """Ask `login/companyinfo` where the API of a company is (connectwise-api.md 1). Sends no credentials.

    Raises InvalidSite, UnknownCompany, ForbiddenHost (also if the answer leads elsewhere), NotConnectWise, WrongRoute
    for a 404 or a redirect of something else than ConnectWise, and what a call raises.
    """
    site = parse_site(site_url)
    company = company_identifier.strip()
    unknown = f"{site.key} has no company {company!r}."
    if company in {"", ".", ".."}:
        raise UnknownCompany(unknown)
    url = f"{site.origin}/login/companyinfo/{quote(company, safe='')}"
    response = transport.request("GET", url, headers={"Accept": "application/json"})
    try:
        value = response.json()
        info = None if value is None else read(CompanyInfo, value)
    except ConnectWiseError as error:
        explained = _explained(error, site, unknown)
        if explained is error:
            raise
        raise explained from error
    if info is None:
        raise UnknownCompany(unknown, status=response.status)
    if not _CODEBASE.fullmatch(info.codebase):
        raise ServerTrouble(f"{site.key} names an impossible codebase, {info.codebase!r}.", sent=True)
    is_cloud = info.is_cloud or site.host in CLOUD_API_HOSTS
    origin = _api_origin(site, info.site_url) if is_cloud else site.origin
    return BaseUrl(f"{origin}/{info.codebase}apis/3.0", info.company_name, is_cloud, info.version_code)


def _explained(error: ConnectWiseError, site: Site, unknown: str) -> ConnectWiseError:
    """Return the error that says what a failed answer to companyinfo tells of the URL and the Company ID."""
    if isinstance(error, RateLimited | ClientIdRefused):
        return error
    is_connectwise = f".{site.host}".endswith(CLOUD_DOMAINS)
    if error.status == 404 and (is_connectwise or error.code):
        # An unknown company is a 404 now and then (connectwise-api.md 1.2); its `code` shows whose answer this is.
        return UnknownCompany(unknown, status=404)
    other = f"{site.key} answers, but not as ConnectWise does"
    if error.status == 404 or isinstance(error, WrongRoute):
        return WrongRoute(f"{other} ({error.message}).", status=error.status)
    if is_connectwise or error.status is None or error.status >= 500:
        return error
    return NotConnectWise(f"{other} ({error.message}).", sent=True, status=error.status)


def _api_origin(site: Site, site_url: str) -> str:
    """Origin of a cloud API: as the login host says, if that stays with ConnectWise or with the host itself."""
    own = CLOUD_API_HOSTS.get(site.host)
    if not site_url:
        return f"https://{own}" if own else site.origin
    try:
        named = parse_site(site_url)
    except InvalidSite as error:
        raise ForbiddenHost(f"{site.key} names an impossible API host, {site_url!r}.") from error
    if named.host == site.host:
        # parse_site has made the login host of a known API host: the API is at the latter.
        return f"https://{own}" if own else site.origin
    if named.scheme == "https" and (named.host == f"api-{site.host}" or named.host.endswith(CLOUD_DOMAINS)):
        return f"https://{CLOUD_API_HOSTS[named.host]}" if named.host in CLOUD_API_HOSTS else named.origin
    raise ForbiddenHost(f"{site.key} names an API host that is not ConnectWise's: {named.host}.")
