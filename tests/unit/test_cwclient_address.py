"""The hosts that are understood, and those that are never spoken to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwclient import AddressPolicy, ForbiddenHost, InvalidSite, Site, Unreachable, parse_site

NA = Site("https", "na.myconnectwise.net", 443)


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("na.myconnectwise.net", NA),
        ("na.myconnectwise.net/", NA),
        ("  NA.MyConnectWise.net \n", NA),
        ("\u200bna.myconnectwise.net\ufeff", NA),
        ("na.myconnectwise.net.", NA),
        ("HTTPS://na.myconnectwise.net", NA),
        ("https://na.myconnectwise.net:443/", NA),
        ("https://na.myconnectwise.net/v2025_1/ConnectWise.aspx?locale=en_US", NA),
        ("https://na.myconnectwise.net/v2025_1/ConnectWise.aspx?locale=en_US#startscreen=sr100", NA),
        ("https://api-na.myconnectwise.net/v4_6_release/apis/3.0", NA),
        ("api-na.myconnectwise.net", NA),
        ("api-staging.connectwisedev.com", Site("https", "staging.connectwisedev.com", 443)),
        ("api-cw.msp.example", Site("https", "api-cw.msp.example", 443)),
        ("cw.msp.example:8443", Site("https", "cw.msp.example", 8443)),
        ("https://cw.msp.example:8443/v4_6_release/", Site("https", "cw.msp.example", 8443)),
        ("http://127.0.0.1:8080", Site("http", "127.0.0.1", 8080)),
        ("http://localhost", Site("http", "localhost", 80)),
        ("https://[2001:DB8:0:0::1]:8443/x", Site("https", "2001:db8::1", 8443)),
        ("bücher.example", Site("https", "xn--bcher-kva.example", 443)),
        ("BÜCHER.example", Site("https", "xn--bcher-kva.example", 443)),
        ("faß.de", Site("https", "xn--fa-hia.de", 443)),
        ("xn--fa-hia.de", Site("https", "xn--fa-hia.de", 443)),
        ("βόλος.example", Site("https", "xn--nxasmm1c.example", 443)),
        ("\uff4e\uff41\u3002myconnectwise\uff0enet", NA),
        ("cw_1.msp.example", Site("https", "cw_1.msp.example", 443)),
    ],
)
def test_every_form_that_partners_enter_is_understood(text: str, site: Site) -> None:
    """A coordinator may paste the login URL, the API URL or just the host."""
    assert parse_site(text) == site


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "https://", "https:/na.myconnectwise.net", "ftp://na.myconnectwise.net", "file:///etc/passwd",
        "javascript:alert(1)", "gopher://na.myconnectwise.net", "https://ana:secret@na.myconnectwise.net",
        "na.myconnectwise.net@evil.example", "https://na.myconnectwise.net\\@evil.example",
        "https://na.myconnectwise.net#@evil.example", "na.myconnectwise.net/#evil", "na myconnectwise.net",
        "na.my\tconnectwise.net", "na.my\u202econnectwise.net", "na.myconnectwise.net:99999", "na.myconnectwise.net:0",
        "na.myconnectwise.net:", "na.myconnectwise.net:abc", "https://[::1", "https://[fe80::1%25eth0]/", "::1",
        "-na.myconnectwise.net", "na..myconnectwise.net", "%31%32%37.0.0.1", "a" * 64 + ".example", "na.my*.net",
        ".", "//na.myconnectwise.net", "x" * 300, "💩.example", "a\u0338.ex\u2260ample", "ü_1.example",
        "\u0627a.example", "\u00ad.example",
    ],
)  # fmt: skip
def test_what_is_no_site_is_refused_with_advice(text: str) -> None:
    """A coordinator who enters nonsense reads what to enter instead."""
    with pytest.raises(InvalidSite, match=r"https://na\.myconnectwise\.net"):
        parse_site(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_gives_a_site_or_advice(text: str) -> None:
    """No entry, however odd, ends as an internal error."""
    try:
        site = parse_site(text)
    except InvalidSite:
        return
    assert parse_site(site.origin) == site


def test_key_is_the_same_for_login_and_api_host() -> None:
    """A mapping made under the login URL stays valid when the partner later enters the API URL."""
    keys = {parse_site(t).key for t in ("na.myconnectwise.net", "https://API-na.myconnectwise.net/v4_6_release/")}
    assert keys == {"na.myconnectwise.net"}
    assert parse_site("cw.msp.example:8443").key == "cw.msp.example:8443"
    assert parse_site("https://[2001:db8::1]:8443").key == "[2001:db8::1]:8443"


#: Written as a host; the system's resolver reads them without a name server.
LITERALS = [
    "127.0.0.1", "127.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001",
    "0.0.0", "0", "10.0.0.1", "0xa.0.0.1", "012.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "3232235777",
    "100.64.0.1", "100.127.255.255", "169.254.1.1", "169.254.169.254", "0xa9fea9fe", "0251.0376.0251.0376",
    "2852039166", "168.63.129.16", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "[::1]", "::1", "::", "::127.0.0.1",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::10.0.0.1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
    "2002:808:808::1", "2001::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fec0::1",
    "ff02::1", "2001:db8::1", "3fff::1", "100::1",
]  # fmt: skip

#: Names, and where a partner's name server says they are.
NAMES = {
    "localhost": ["127.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "ipv6.localtest.example": ["::1"],
    "metadata.google.internal": ["169.254.169.254"],
    "metadata.msp.example": ["fd00:ec2::254"],
    "rabbitmq.msp.example": ["10.1.2.3"],
    "mixed.msp.example": ["8.8.8.8", "192.168.0.7"],
    "mixed6.msp.example": ["8.8.8.8", "::ffff:10.0.0.1"],
    "scoped.msp.example": ["fe80::1%1"],
}


@pytest.mark.parametrize("host", LITERALS)
def test_addresses_of_our_own_network_are_forbidden_however_written(host: str) -> None:
    """A partner cannot use the worker to reach what only the worker's network can reach."""
    with pytest.raises(ForbiddenHost):
        AddressPolicy().addresses("https", host)


@pytest.mark.parametrize("host", NAMES)
def test_names_that_lead_into_our_network_are_forbidden(host: str) -> None:
    """A public name that resolves to a private address is refused, also if only one of its addresses is."""
    with pytest.raises(ForbiddenHost):
        AddressPolicy(resolver=NAMES.__getitem__).addresses("https", host)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.0.1", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
     "168.63.129.16", "100.100.100.200", "fd00:ec2::254"],
)  # fmt: skip
def test_metadata_stays_forbidden_even_when_listed(address: str) -> None:
    """No setting opens the way to a cloud's credentials."""
    policy = AddressPolicy(["0.0.0.0/0", "::/0", "cw.msp.example"], resolver=lambda _: [address])
    with pytest.raises(ForbiddenHost, match="never"):
        policy.addresses("https", "cw.msp.example")


@pytest.mark.parametrize("listed", ["10.0.0.0/8", "10.1.2.3", "cw.msp.example", " CW.msp.example ", "10.1.2.3/16"])
def test_listed_hosts_and_networks_are_allowed(listed: str) -> None:
    """An operator can open one on-premise server by name, address or network."""
    policy = AddressPolicy([listed], resolver=lambda _: ["10.1.2.3"])
    assert policy.addresses("https", "CW.msp.example") == ["10.1.2.3"]


def test_listing_one_host_opens_no_other() -> None:
    """An operator who lists one server does not open its neighbours."""
    policy = AddressPolicy(["10.1.2.3", "cw.msp.example"], resolver=lambda _: ["10.1.2.4"])
    with pytest.raises(ForbiddenHost, match="allowed list"):
        policy.addresses("https", "other.msp.example")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"])
def test_public_addresses_are_allowed_over_https_only(address: str) -> None:
    """ConnectWise is reached over https, also through a NAT64 gateway; keys never travel in the clear."""
    policy = AddressPolicy(resolver=lambda _: [address])
    assert len(policy.addresses("https", "na.myconnectwise.net")) == 1
    with pytest.raises(ForbiddenHost, match="https"):
        policy.addresses("http", "na.myconnectwise.net")


def test_plain_http_goes_only_to_a_listed_loopback() -> None:
    """The simulator on this machine may speak http; a listed server elsewhere may not."""
    assert AddressPolicy(["127.0.0.0/8"]).addresses("http", "127.0.0.1") == ["127.0.0.1"]
    with pytest.raises(ForbiddenHost):
        AddressPolicy().addresses("http", "127.0.0.1")
    with pytest.raises(ForbiddenHost, match="https"):
        AddressPolicy(["10.0.0.0/8"]).addresses("http", "10.0.0.1")


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "300.1.1.1", "", "http://localhost", "a b"])
def test_a_misspelt_entry_of_the_allowed_list_is_refused_at_start(entry: str) -> None:
    """An operator learns at once that an entry means nothing, instead of wondering why it does not work."""
    with pytest.raises(ValueError, match="neither"):
        AddressPolicy([entry])


def test_an_unknown_name_is_unreachable_and_nothing_was_sent() -> None:
    """A mistyped host name is told apart from a forbidden one."""

    def unknown(host: str) -> list[str]:
        raise OSError(f"no such host {host}")

    for policy in (AddressPolicy(resolver=unknown), AddressPolicy(resolver=lambda _: [])):
        with pytest.raises(Unreachable) as caught:
            policy.addresses("https", "nowhere.example")
        assert not caught.value.sent
