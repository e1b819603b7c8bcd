"""An independent client, pyconnectwise, works with the simulator over HTTPS as it does with ConnectWise."""

from collections.abc import Iterator

import pytest
from pyconnectwise import ConnectWiseManageAPIClient
from pyconnectwise.exceptions import (
    AuthenticationFailedException,
    MalformedRequestException,
    NotFoundException,
    PermissionsFailedException,
)

from cwclient.simulator import SimulatorServer

# The client's generated models declare fields in a way that pydantic deprecates; that is not ours to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using extra keyword arguments on `Field`:pydantic.warnings.PydanticDeprecatedSince20"
)

STATE = {
    "tenants": [
        {
            "company_identifier": "acmemsp",
            "keys": [{"public": "pub", "private": "priv"}],
            "companies": [{"id": number} for number in range(1, 8)],
            "agreements": [{"id": number, "company": {"id": number}} for number in range(1, 8)],
            "additions": [{"id": number, "agreementId": 1, "quantity": number} for number in range(1, 8)],
        }
    ]
}


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    """Serve the state above over HTTPS."""
    with SimulatorServer(STATE) as server:
        # The client has no setting for a certificate authority; requests, which it uses, takes it from here.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


def connect(simulator: SimulatorServer, private: str = "priv") -> ConnectWiseManageAPIClient:
    """Make the independent client, which finds the codebase by itself."""
    site = simulator.url.removeprefix("https://")
    return ConnectWiseManageAPIClient("acmemsp", site, "client-id", "pub", private)


def test_it_reads_every_page(simulator: SimulatorServer) -> None:
    """Companies, agreements and additions come complete over several pages, and counts agree."""
    client = connect(simulator)
    assert client.codebase == "v2025_1/"
    additions = client.finance.agreements.id(1).additions
    for endpoint in (client.company.companies, client.finance.agreements, additions):
        assert [one.id for one in endpoint.paginated(1, 3).all()] == list(range(1, 8))
    assert additions.count.get().count == 7
    pages = [record["query"] for record in simulator.log if record["path"].endswith("/companies")]
    assert [query.count("page=") for query in pages] == [1, 1, 1]


def test_it_filters_and_patches(simulator: SimulatorServer) -> None:
    """A condition selects, and a patched quantity is read back."""
    client = connect(simulator)
    [agreement] = client.finance.agreements.get(params={"conditions": 'company/id=3 and agreementStatus="Active"'})
    assert agreement.id == 3
    addition = client.finance.agreements.id(1).additions.id(5)
    changed = addition.patch([{"op": "replace", "path": "quantity", "value": 42}])
    assert (changed.quantity, addition.get().quantity) == (42, 42)
    assert simulator.state.quantity("acmemsp", 5) == 42


def test_it_understands_the_errors(simulator: SimulatorServer) -> None:
    """Bad conditions, unknown records, missing rights and wrong keys are what this client takes them for."""
    client = connect(simulator)
    with pytest.raises(MalformedRequestException):
        client.company.companies.get(params={"conditions": "colour=1"})
    with pytest.raises(MalformedRequestException):
        client.finance.agreements.id(1).additions.id(5).patch([{"op": "replace", "path": "colour", "value": 1}])
    with pytest.raises(NotFoundException):
        client.company.companies.id(99).get()
    with pytest.raises(PermissionsFailedException):
        client.procurement.catalog.get()
    with pytest.raises(AuthenticationFailedException):
        connect(simulator, private="wrong").company.companies.get()
