"""Client of the ConnectWise Manage (PSA) REST API: as much of it as setting an agreement addition's quantity needs."""

from cwclient.address import AddressPolicy, Site, parse_site
from cwclient.client import ConnectWise, Credentials, id_in
from cwclient.discovery import BaseUrl, discover
from cwclient.errors import (
    BadCredentials,
    CertificateRefused,
    ClientIdRefused,
    ConnectWiseError,
    FieldError,
    ForbiddenHost,
    InvalidSite,
    MissingRight,
    QuantityNotKept,
    RateLimited,
    RecordNotFound,
    RecordRefused,
    ServerTrouble,
    UnknownCompany,
    Unreachable,
    WrongRoute,
    from_response,
)
from cwclient.links import agreement_link, company_link
from cwclient.models import Addition, Agreement, Company, CompanyInfo, Reference
from cwclient.sockets import CallBudget
from cwclient.transport import Response, Transport

__all__ = [
    "Addition",
    "AddressPolicy",
    "Agreement",
    "BadCredentials",
    "BaseUrl",
    "CallBudget",
    "CertificateRefused",
    "ClientIdRefused",
    "Company",
    "CompanyInfo",
    "ConnectWise",
    "ConnectWiseError",
    "Credentials",
    "FieldError",
    "ForbiddenHost",
    "InvalidSite",
    "MissingRight",
    "QuantityNotKept",
    "RateLimited",
    "RecordNotFound",
    "RecordRefused",
    "Reference",
    "Response",
    "ServerTrouble",
    "Site",
    "Transport",
    "UnknownCompany",
    "Unreachable",
    "WrongRoute",
    "agreement_link",
    "company_link",
    "discover",
    "from_response",
    "id_in",
    "parse_site",
]
