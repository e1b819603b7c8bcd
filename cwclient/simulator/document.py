"""The state document: the JSON that a simulator starts from, and that changes it while it runs.

    {"tenants": [{"company_identifier": "acmemsp",
                  "codebase": "v2025_1/",
                  "keys": [{"public": "pub", "private": "priv"}],
                  "companies": [{"id": 250, "name": "Initech"}],
                  "agreements": [{"id": 7, "company": {"id": 250}, "type": {"name": "Managed Services"}}],
                  "additions": [{"id": 11, "agreementId": 7, "product": {"identifier": "PHIN"}, "quantity": 4}]}]}

Records have ConnectWise's own field names (connectwise-api.md 5) and may be terse: only `id`, an agreement's
`company.id` and an addition's `agreementId` are needed. Dates may be written as `2026-11-01`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from cwclient.simulator.schema import Record, check_record

Level = Literal["none", "all"]


def _record(schema: str) -> AfterValidator:
    def check(record: Record) -> Record:
        if record.get("id") is None:
            raise ValueError(f"{schema}.id is missing")
        return check_record(schema, record)

    return AfterValidator(check)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rights(_Document):
    """The rights of a key's security role (connectwise-api.md 2.3); by default those that Phin asks for.

    `agreement_types` limits a role to agreements of these type names, None = every type.
    """

    company_maintenance_inquire: Level = "all"
    agreements_inquire: Level = "all"
    agreements_edit: Level = "all"
    product_catalog_inquire: Level = "none"
    agreement_types: tuple[str, ...] | None = None


class Key(_Document):
    """A key pair of an API member; `member` is the name that its changes carry in `_info.updatedBy`."""

    public: str
    private: SecretStr
    member: str = "PhinAPI"
    rights: Rights = Rights()


class TenantSettings(_Document):
    """A ConnectWise tenant without its records.

    `codebase` is `v4_6_release/` on premise, `vYYYY_N/` in the cloud (connectwise-api.md 1.3). `site_url` is what
    companyinfo says as SiteUrl, by default the simulator's own `host:port`. `requests_per_minute` switches on the 429
    of connectwise-api.md 7.1.
    """

    company_identifier: str
    codebase: str = Field(default="v2025_1/", pattern=r"^v[0-9A-Za-z_.]+/$")
    site_url: str | None = None
    keys: tuple[Key, ...] = ()
    requests_per_minute: int | None = Field(default=None, ge=1)


class TenantDocument(TenantSettings):
    """A ConnectWise tenant with its records."""

    companies: list[Annotated[Record, _record("Company")]] = []
    agreements: list[Annotated[Record, _record("Agreement")]] = []
    additions: list[Annotated[Record, _record("Addition")]] = []
    catalog: list[Annotated[Record, _record("CatalogItem")]] = []


class StateDocument(_Document):
    """Everything that a simulator holds.

    `client_id_status` is the status without a clientId (sources disagree, connectwise-api.md 2.2). `closed_records`
    says what a PATCH of a cancelled or expired addition, or of one on such an agreement, replies; that is unknown
    (connectwise-api.md 6.3), so both can be had: 400 InvalidObject, or 200. `foreign_additions` says what becomes of
    an addition that is asked for under an agreement which is not its own; that is unknown too: 404, or as if it were.
    """

    tenants: list[TenantDocument] = []
    client_id_status: int = Field(default=403, ge=400, le=499)
    closed_records: Literal["refuse", "accept"] = "refuse"
    foreign_additions: Literal["refuse", "accept"] = "refuse"
