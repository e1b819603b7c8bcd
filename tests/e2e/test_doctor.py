"""The permission doctor: broken connections, each with its own problem and the field or role row to change."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cwclient.simulator import StateDocument, faults
from cwclient.simulator.document import Rights
from cwclient.simulator.faults import Fault, Match
from messages import ConnectionChanged, KeyRing, generate_keypair, seal
from tests.support.case import Case
from tests.support.tls import certificate, shown
from tests.support.waiting import wait_for
from tests.support.world import PRIVATE_KEY

LOGIN = Match(path="^/login/")
COUNT = Match(path="/count$")
NO_PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@dataclass
class Bench:
    """A partner whose working connection is saved anew in other ways."""

    case: Case
    folder: Path
    stack: ExitStack

    def event(
        self, *, sealed_for: dict[str, str] | None = None, seal_key: str | None = None, **changes: Any
    ) -> ConnectionChanged:
        """A connection with these changes; its private key is sealed for it, or for something else."""
        good = self.case.world.connected("p1")
        private_key = changes.pop("private_key", PRIVATE_KEY)
        event = good.model_copy(update=changes)
        belongings = {
            "public_key": str(event.public_key),
            "partner_id": event.partner_id,
            "company_identifier": str(event.company_identifier),
            "site_url": str(event.site_url),
        }
        key = KeyRing.parse(seal_key or self.case.world.keys.private).seal_key
        box = seal(private_key, seal_key=key, **belongings | (sealed_for or {}))
        return event.model_copy(update={"sealed_private_key": box})

    def check(self, event: ConnectionChanged) -> dict[str, Any]:
        """Save the connection; what its check found."""
        self.case.world.publish(event)
        saved = event.model_dump(mode="json")["changed_at"]
        wait_for(lambda: (self.case.check() or {}).get("changed_at") == saved, "the check")
        return self.case.check() or {}

    @property
    def port(self) -> str:
        """The simulator's."""
        return self.case.world.simulator.url.rpartition(":")[2]


Break = Callable[[Bench], ConnectionChanged]


@pytest.fixture
def bench(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A name server of the test's own: one host is public, one is the simulator's, one does not exist."""
    known = {"public.example": "8.8.8.8", "cw.example": "127.0.0.1"}
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "nowhere.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(known.get(host, host), *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with ExitStack() as stack:
        yield Bench(case, tmp_path, stack)


def _saved(**changes: Any) -> Break:
    return lambda bench: bench.event(**changes)


def _fault(fault: Fault) -> Break:
    def spoil(bench: Bench) -> ConnectionChanged:
        bench.case.world.simulator.faults.set([fault])
        return bench.event()

    return spoil


def _rights(**rights: Any) -> Break:
    def spoil(bench: Bench) -> ConnectionChanged:
        bench.case.set_rights(Rights(**rights))
        return bench.event()

    return spoil


def _empty(bench: Bench) -> ConnectionChanged:
    tenant = {"company_identifier": "cw-empty", "keys": [{"public": "public", "private": PRIVATE_KEY}]}
    bench.case.world.simulator.state.merge(StateDocument.model_validate({"tenants": [tenant]}))
    return bench.event(company_identifier="cw-empty")


def _other_name(bench: Bench) -> ConnectionChanged:
    return bench.event(site_url=f"https://cw.example:{bench.port}")


def _expired(bench: Bench) -> ConnectionChanged:
    context, pem = certificate(bench.folder, "127.0.0.1", days=-1)
    port = bench.stack.enter_context(shown(context))
    return bench.event(site_url=f"https://127.0.0.1:{port}", ca_bundle=pem)


OTHER_SITE = {"site_url": "https://other.example"}
COMPANIES, AGREEMENTS = "Companies > Company Maintenance > Inquire", "Finance > Agreements > Inquire"
BROKEN: list[tuple[Break, str, tuple[str, ...]]] = [
    (_saved(site_url="https://na.myconnectwise.net:0"), "address_unreadable", ("ConnectWise URL", "port")),
    (_saved(site_url="https://nowhere.example"), "host_unknown", ("ConnectWise URL", "nowhere.example")),
    (_saved(site_url="https://127.0.0.1:1"), "unreachable", ("ConnectWise URL", "refused")),
    (_saved(site_url="https://10.1.2.3"), "address_forbidden", ("ConnectWise URL", "10.1.2.3")),
    (_saved(site_url="http://public.example"), "address_not_https", ("ConnectWise URL", "https://")),
    (_fault(faults.Html(status=200, match=LOGIN)), "not_connectwise", ("ConnectWise URL", "firewall")),
    (_saved(ca_bundle=None), "certificate_untrusted", ("certificate authority", "full certificate chain")),
    (_other_name, "certificate_name", ("ConnectWise URL", "cw.example")),
    (_expired, "certificate_expired", ("Renew the certificate", "expired")),
    (_saved(ca_bundle=NO_PEM), "ca_bundle_unreadable", ("certificate authority", "PEM")),
    (_saved(company_identifier="nobody"), "unknown_company", ("Company ID", "'nobody'")),
    (_saved(private_key="another"), "bad_credentials", ("Public Key", "Private Key", "API Keys")),
    (_saved(sealed_for=OTHER_SITE), "key_mismatch", ("Private Key", "not saved for this ConnectWise URL")),
    (_saved(seal_key=generate_keypair().private), "seal_key_unknown", ("Private Key", "support")),
    (_fault(faults.MissingClientId(match=COUNT)), "client_id", ("Your settings are not the cause",)),
    (_rights(company_maintenance_inquire="none"), "missing_company_inquire", (COMPANIES, "System > Security Roles")),
    (_rights(agreements_inquire="none"), "missing_agreement_inquire", (AGREEMENTS, "System > Security Roles")),
    (
        _rights(company_maintenance_inquire="none", agreements_inquire="none"),
        "missing_both_inquire",
        (COMPANIES, AGREEMENTS),
    ),
    (_rights(agreement_types=("Other",)), "no_agreements", ("Finance > Agreements > customize",)),
    (_empty, "no_companies", (COMPANIES,)),
    (_fault(faults.Status(status=404, match=COUNT)), "api_refused", ("Public Key", "Private Key")),
    (_fault(faults.Status(status=500, match=COUNT)), "server_trouble", ("HTTP 500",)),
    (_fault(faults.Status(status=429, retry_after=1, match=COUNT)), "rate_limited", ("limits the number of requests",)),
]


@pytest.mark.parametrize(("spoil", "code", "words"), BROKEN, ids=[code for _, code, _ in BROKEN])
def test_a_broken_connection_names_what_to_change(
    bench: Bench, spoil: Break, code: str, words: tuple[str, ...]
) -> None:
    """A coordinator who connects reads which field or which row of the role is wrong, and is never told "Admin"."""
    checked = bench.check(spoil(bench))
    problem = checked["problem"]
    told = " ".join(filter(None, (problem[name] for name in ("detail", "fix", "where"))))
    assert (checked["status"], problem["code"]) == ("failed", code)
    assert [word for word in words if word not in told] == []
    assert "Admin" not in told


def test_each_broken_connection_has_a_problem_of_its_own() -> None:
    """Support can tell from the code alone what is wrong."""
    codes = [code for _, code, _ in BROKEN]
    assert len(codes) == len(set(codes)) >= 12


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(_fault(faults.Html(status=404, match=LOGIN)), "not_connectwise", id="a page that is not there"),
        pytest.param(_fault(faults.Redirect(location="https://x/", match=LOGIN)), "not_connectwise", id="a redirect"),
        pytest.param(_fault(faults.Status(status=401, match=LOGIN)), "not_connectwise", id="a login in front"),
        pytest.param(_fault(faults.Hang(match=LOGIN)), "unreachable", id="no answer"),
        pytest.param(_fault(faults.Status(status=503, match=LOGIN)), "unreachable", id="a gateway's error"),
        pytest.param(_saved(sealed_for={"partner_id": "p2"}), "key_mismatch", id="another partner's keys"),
        pytest.param(_saved(public_key="other"), "bad_credentials", id="wrong public key"),
    ],
)
def test_other_ways_to_break_it_are_told_alike(bench: Bench, spoil: Break, code: str) -> None:
    """Faults that have the same remedy have the same code."""
    assert bench.check(spoil(bench))["problem"]["code"] == code


def test_what_connectwise_said_stands_beside_the_problem(bench: Bench) -> None:
    """Support reads ConnectWise's own words, the coordinator ours."""
    problem = bench.check(bench.event(private_key="another"))["problem"]
    assert problem["said"] == "Incorrect public/private key"
    assert problem["said"] not in problem["detail"]
