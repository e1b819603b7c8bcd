"""The address policy against an independent one, ssrfguard's: where they differ, ours is the stricter."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ssrfguard import DEFAULT_DENIED, Block, Policy

from cwclient import AddressPolicy, ForbiddenHost

Address = IPv4Address | IPv6Address

#: The networks that only ours refuses: a cloud's metadata, and all that IANA keeps for protocols and obsolete tunnels.
STRICTER = [ip_network(text) for text in ("168.63.129.16/32", "192.0.0.0/24", "2001::/23", "2002::/16")]
#: No other IPv6 has been given out (RFC 3513); ::ffff:0:0/96 and 64:ff9b::/96 are judged by the IPv4 within.
GIVEN_OUT = [IPv6Network(text) for text in ("2000::/3", "::ffff:0:0/96", "64:ff9b::/96")]
#: The prefixes by which IPv6 carries an IPv4 address: mapped, NAT64, its local form, compatible, translated, ISATAP.
CARRIERS = ["::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "::", "::ffff:0:0:0", "2001:4860::5efe:0:0"]
OTHERS = Policy()


def _ours(address: Address) -> bool:
    try:
        return bool(AddressPolicy(resolver=lambda _: [str(address)]).addresses("https", "cw.msp.example"))
    except ForbiddenHost:
        return False


def _is_meant(address: Address) -> bool:
    """True if ours refuses on purpose what the other lets pass."""
    inner = IPv4Address(int(address) & 0xFFFFFFFF)
    is_carrier = any(address in network for network in GIVEN_OUT[1:])
    seen = [address, inner] if is_carrier else [address]
    outside = address.version == 6 and not any(address in network for network in GIVEN_OUT)
    return outside or any(one in network for one in seen for network in STRICTER)


def _compare(address: Address) -> None:
    ours, others = _ours(address), OTHERS.permits_address(address)
    assert not (ours and not others), f"{address} is refused by ssrfguard"
    assert ours == others or _is_meant(address), f"{address} is allowed by ssrfguard"


def _forms(address: IPv4Address) -> list[Address]:
    """The address, and each IPv6 that leads to it; 6to4 has it in front, Teredo inverted at the end."""
    number = int(address)
    carried = [IPv6Address(int(IPv6Address(prefix)) | number) for prefix in CARRIERS]
    return [
        address,
        *carried,
        IPv6Address(0x2002 << 112 | number << 80),
        IPv6Address(0x2001 << 112 | number ^ 0xFFFFFFFF),
    ]


@pytest.mark.parametrize("block", DEFAULT_DENIED.blocks, ids=lambda block: str(block.network))
def test_the_edges_of_each_special_network_are_judged_alike(block: Block) -> None:
    """At each network that IANA lists, a partner reaches no address that the other policy refuses."""
    network = block.network
    make = type(network.network_address)
    first, last = int(network.network_address), int(network.broadcast_address)
    for number in (first - 1, first, last, last + 1):
        if 0 <= number < 2**network.max_prefixlen:
            address = make(number)
            for form in _forms(address) if isinstance(address, IPv4Address) else [address]:
                _compare(form)


@settings(deadline=None, max_examples=500)
@given(
    st.one_of(
        st.ip_addresses(v=4).flatmap(lambda address: st.sampled_from(_forms(IPv4Address(str(address))))),
        st.ip_addresses(v=6),
        st.integers(0, 2**125 - 1).map(lambda number: IPv6Address(0b001 << 125 | number)),
    )
)
def test_any_address_is_judged_alike(address: Address) -> None:
    """Nor elsewhere."""
    _compare(address)
