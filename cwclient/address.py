"""The host that was meant, and the judgement whether we may speak to it.

The host comes from a partner (or from a server that the partner named), so it must not lead into our own network.
"""

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

import idna

from cwclient.errors import ForbiddenHost, HostUnknown, InvalidSite, NotHttps, Unreachable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str], Sequence[str]]

#: Login host → API host of ConnectWise's cloud (connectwise-api.md 1.1).
CLOUD_API_HOSTS = {
    "na.myconnectwise.net": "api-na.myconnectwise.net",
    "eu.myconnectwise.net": "api-eu.myconnectwise.net",
    "au.myconnectwise.net": "api-au.myconnectwise.net",
    "aus.myconnectwise.net": "api-aus.myconnectwise.net",
    "za.myconnectwise.net": "api-za.myconnectwise.net",
    "staging.connectwisedev.com": "api-staging.connectwisedev.com",
}
CLOUD_DOMAINS = (".myconnectwise.net", ".connectwisedev.com")
_LOGIN_HOSTS = {api: login for login, api in CLOUD_API_HOSTS.items()}

_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII)
_EXAMPLE = "Enter the address you use to log in to ConnectWise, for example https://na.myconnectwise.net"


@dataclass(frozen=True)
class Site:
    """The address of a tenant's ConnectWise: the login host, in lower case, also if its API host was entered."""

    scheme: str
    host: str
    port: int

    @property
    def key(self) -> str:
        """Canonical name of the site, the same for its login URL and its API URL: `host`, or `host:port` if not 443."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """`scheme://host`, with the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        own = {"https": 443, "http": 80}[self.scheme]
        return f"{self.scheme}://{host}" + ("" if self.port == own else f":{self.port}")


def parse_site(text: str) -> Site:
    """Read a bare host, a login URL or an API URL (the forms of connectwise-api.md 1.4).

    Raises InvalidSite, with a message that tells the coordinator what to enter.
    """
    text = text.strip().strip("\u200b\ufeff")
    if not text:
        raise InvalidSite(f"The ConnectWise URL is empty. {_EXAMPLE}.")
    if "\\" in text or any(c.isspace() or unicodedata.category(c).startswith("C") for c in text):
        raise InvalidSite(f"The ConnectWise URL contains a space, a backslash or an invisible character. {_EXAMPLE}.")
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        port = parts.port
    except ValueError as error:
        raise InvalidSite(f"The ConnectWise URL cannot be read ({error}). {_EXAMPLE}.") from error
    if parts.scheme not in {"https", "http"}:
        raise InvalidSite(f"The ConnectWise URL must start with https://, not {parts.scheme}://. {_EXAMPLE}.")
    if "@" in parts.netloc:
        raise InvalidSite(f"The ConnectWise URL must not contain a user name or password. {_EXAMPLE}.")
    if port == 0 or parts.netloc.endswith(":"):
        raise InvalidSite(f"The ConnectWise URL names no valid port. {_EXAMPLE}.")
    if parts.fragment and parts.path in {"", "/"}:
        raise InvalidSite(f"The ConnectWise URL has a # right after the host. {_EXAMPLE}.")
    host = _canonical_host(parts.hostname or "")
    return Site(parts.scheme, _LOGIN_HOSTS.get(host, host), port or {"https": 443, "http": 80}[parts.scheme])


def _canonical_host(host: str) -> str:
    try:
        if ":" in host and "%" not in host:  # a zone names an interface of one machine
            return IPv6Address(host).compressed
        # IDNA 2008, as browsers and name servers have it; idna itself takes no "_", which names within a network have.
        host = (host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")).lower().removesuffix(".")
    except ValueError as error:
        raise InvalidSite(f"The ConnectWise URL has no valid host name. {_EXAMPLE}.") from error
    if not _HOST_NAME.fullmatch(host):
        raise InvalidSite(f"The ConnectWise URL has no valid host name. {_EXAMPLE}.")
    return host


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# Spelled out, as `is_global` and its kin change between Python releases. Source: IANA's special-purpose registries.
_SPECIAL_V4 = _networks(
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
_GLOBAL_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = _networks("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
#: Link-local, and where clouds serve metadata: AWS, Azure, Alibaba, Oracle, AWS and Google over IPv6.
_NEVER = _networks(
    "169.254.0.0/16", "fe80::/10", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::254/128",
    "fd20:ce::254/128",
)  # fmt: skip
#: IPv6 that reaches an IPv4 address through the kernel or a NAT64 gateway: judged by that address.
_TRANSLATED = _networks("::ffff:0:0/96", "64:ff9b::/96")
#: IPv6 that carries an IPv4 address in its low 32 bits, obsolete or local forms included.
_CARRIES_V4 = (*_TRANSLATED, *_networks("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48"))


def _inner(address: Address) -> IPv4Address | None:
    """IPv4 address within an IPv6 one."""
    if isinstance(address, IPv4Address):
        return None
    if _in(address, _CARRIES_V4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo else None)


def _in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not _in(address, _SPECIAL_V4)
    return address in _GLOBAL_V6 and not _in(address, _SPECIAL_V6)


# EAI_NODATA is not in every system's library. Anything else, such as EAI_AGAIN, may pass.
_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


def system_resolver(host: str) -> list[str]:
    """Addresses of `host` by the system's resolver, which also reads 0x7f.1 and 2130706433 as IPv4."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class AddressPolicy:
    """Decides to which addresses we may connect: public ones over https, others only if listed.

    `allow_private` lists host names, addresses and CIDR networks. Link-local and cloud metadata addresses are refused
    even then, and plain http goes only to a listed loopback address. Raises ValueError for an entry that is neither.
    """

    def __init__(self, allow_private: Sequence[str] = (), resolver: Resolver = system_resolver) -> None:
        self._resolver = resolver
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for entry in (text.strip().lower() for text in allow_private):
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                if not _HOST_NAME.fullmatch(entry) or re.fullmatch("[0-9.]+", entry):
                    raise ValueError(f"{entry!r} is neither a host name nor an address nor a CIDR network") from None
                self._hosts.add(entry)

    def addresses(self, scheme: str, host: str) -> list[str]:
        """Resolve `host` once and return its addresses, all of them checked, to be connected to as they are.

        Raises ForbiddenHost if any of them is forbidden, HostUnknown if there are none, Unreachable if that cannot be
        found out.
        """
        try:
            found = [ipaddress.ip_address(text) for text in self._resolver(host.strip("[]"))]
        except (OSError, UnicodeError) as error:
            if isinstance(error, UnicodeError) or error.errno in _NO_SUCH_HOST:
                raise HostUnknown(f"The host name {host} is not known.", sent=False) from error
            raise Unreachable(f"The host name {host} could not be looked up ({error}).", sent=False) from error
        if not found:
            raise HostUnknown(f"The host name {host} has no address.", sent=False)
        for address in found:
            self._check(scheme, host, address)
        return [str(address) for address in found]

    def _check(self, scheme: str, host: str, address: Address) -> None:
        inner = _inner(address)
        forms = [form for form in (address, inner) if form is not None]
        effective = inner if inner is not None and _in(address, _TRANSLATED) else address
        if any(_in(form, _NEVER) for form in forms):
            raise ForbiddenHost(f"{host} is at {address}, a link-local or metadata address, which is never allowed.")
        listed = host.lower().removesuffix(".") in self._hosts or any(_in(form, self._networks) for form in forms)
        if not listed and not _is_public(effective):
            raise ForbiddenHost(f"{host} is at {address}, which is not a public address and not in the allowed list.")
        if scheme != "https" and not (listed and _in(effective, _LOOPBACK)):
            raise NotHttps(f"{host} must be used with https: keys are not sent over plain {scheme}.")
