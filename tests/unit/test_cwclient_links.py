"""Links to records in ConnectWise's screens."""

import pytest

from cwclient import agreement_link, company_link

PATH = "/v4_6_release/services/system_io/router/openrecord.rails"
QUERY = "locale=en_US&companyName=acme&recordType=AgreementFV&recid=7"


@pytest.mark.parametrize(
    ("site_url", "origin"),
    [
        ("na.myconnectwise.net", "https://na.myconnectwise.net"),
        ("https://na.myconnectwise.net/v2025_1/ConnectWise.aspx?locale=en_US", "https://na.myconnectwise.net"),
        ("https://api-eu.myconnectwise.net/v4_6_release/apis/3.0", "https://eu.myconnectwise.net"),
        ("https://api-xy.myconnectwise.net", "https://xy.myconnectwise.net"),
        ("https://api-cw.msp.example:8443/", "https://api-cw.msp.example:8443"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
    ],
)
def test_an_agreement_opens_where_people_log_in(site_url: str, origin: str) -> None:
    """The link does not depend on how the URL was entered; an on-premise server keeps its name and port."""
    assert agreement_link(site_url, "acme", 7) == f"{origin}{PATH}?{QUERY}"


def test_a_company_has_a_link_of_its_own() -> None:
    """A mapping without an agreement leads to its company."""
    link = company_link("na.myconnectwise.net", "acme", 250)
    assert link == f"https://na.myconnectwise.net{PATH}?locale=en_US&companyName=acme&recordType=CompanyFV&recid=250"


def test_a_company_id_cannot_change_the_link() -> None:
    """A Company ID stays one parameter, whatever was entered."""
    link = agreement_link("na.myconnectwise.net", "a&b=c #/ü+\u200b", 7)
    assert link is not None
    assert "companyName=a%26b%3Dc%20%23%2F%C3%BC%2B%E2%80%8B&recordType" in link


@pytest.mark.parametrize("site_url", ["", "https://", "javascript://na.myconnectwise.net", "https://a@b", "a b"])
def test_no_link_is_made_of_a_site_that_cannot_be_read(site_url: str) -> None:
    """A broken link would be worse than none."""
    assert agreement_link(site_url, "acme", 7) is None
