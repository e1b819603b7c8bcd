"""The state of the simulated ConnectWise, in memory, indexed by id, for concurrent readers and writers."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

from cwclient.simulator.document import StateDocument, TenantDocument, TenantSettings
from cwclient.simulator.records import (
    complete_addition,
    complete_agreement,
    complete_catalog_item,
    complete_company,
    derive,
    overlaid,
    touch,
)
from cwclient.simulator.schema import Record, timestamp

RecordKind = Literal["companies", "agreements", "additions", "catalog"]
RECORD_KINDS: tuple[RecordKind, ...] = ("companies", "agreements", "additions", "catalog")

ById = dict[int, Record]


@dataclass(frozen=True)
class Tenant:
    """The settings and whole records of one tenant. A stored record is never changed, only replaced by another."""

    settings: TenantSettings
    companies: ById = field(default_factory=dict)
    agreements: ById = field(default_factory=dict)
    additions: ById = field(default_factory=dict)
    catalog: ById = field(default_factory=dict)
    additions_of: dict[int, ById] = field(default_factory=dict)

    @classmethod
    def build(cls, settings: TenantSettings, records: dict[RecordKind, Iterable[Record]]) -> Self:
        """Complete the records and index them in the order of their ids.

        Raises ValueError if an agreement names an unknown company, or an addition an unknown agreement.
        """
        given = {kind: sorted(records.get(kind, ()), key=lambda record: int(record["id"])) for kind in RECORD_KINDS}
        tenant = cls(settings)
        tenant.companies.update((record["id"], complete_company(record)) for record in given["companies"])
        tenant.catalog.update((record["id"], complete_catalog_item(record)) for record in given["catalog"])
        for record in given["agreements"]:
            company_id = (record.get("company") or {}).get("id")
            company = tenant._parent("agreement", record, "company", company_id, tenant.companies)
            tenant.agreements[record["id"]] = complete_agreement(record, company)
        for record in given["additions"]:
            agreement = tenant._parent("addition", record, "agreement", record.get("agreementId"), tenant.agreements)
            tenant.put_addition(complete_addition(record, agreement))
        return tenant

    def put_addition(self, addition: Record) -> None:
        """Replace an addition, or add it."""
        self.additions[addition["id"]] = addition
        self.additions_of.setdefault(addition["agreementId"], {})[addition["id"]] = addition

    def records(self, kind: RecordKind) -> ById:
        """Return the records of a kind by id."""
        by_id: ById = getattr(self, kind)
        return by_id

    def _parent(self, kind: str, record: Record, parent: str, parent_id: object, parents: ById) -> Record:
        if not isinstance(parent_id, int) or parent_id not in parents:
            identifier = self.settings.company_identifier
            raise ValueError(
                f"tenant {identifier}: {kind} {record['id']} names {parent} {parent_id}, which is not there"
            )
        return parents[parent_id]


class State:
    """The tenants of a simulator. Hold `lock` around whatever must be seen or changed as one."""

    def __init__(self, document: StateDocument | None = None) -> None:
        self.lock = threading.RLock()
        self.client_id_status = 403
        self.closed_records: Literal["refuse", "accept"] = "refuse"
        self.foreign_additions: Literal["refuse", "accept"] = "refuse"
        self._tenants: dict[str, Tenant] = {}
        self.merge(document or StateDocument())

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a state document. Raises OSError, or ValueError that names what is wrong with it."""
        return cls(StateDocument.model_validate_json(path.read_bytes()))

    def find(self, identifier: str) -> Tenant | None:
        """Find a tenant by its company identifier (case-sensitive, connectwise-api.md 1.2)."""
        return self._tenants.get(identifier)

    def tenant(self, identifier: str) -> Tenant:
        """Return a tenant as it is now. Raises KeyError if there is none."""
        return self._tenants[identifier]

    def codebases(self) -> set[str]:
        """Return the codebases of all tenants."""
        with self.lock:
            return {tenant.settings.codebase for tenant in self._tenants.values()}

    def merge(self, document: StateDocument) -> None:
        """Lay a document over the state: what it names is replaced or added, all else stays.

        Tenants are matched by company identifier, records by id, and a field given as null goes back to its default.
        Raises ValueError, and changes nothing, if an agreement or addition names a parent that is not there.
        """
        with self.lock:
            built = {change.company_identifier: self._built(change) for change in document.tenants}
            self._tenants |= built
            if "client_id_status" in document.model_fields_set:
                self.client_id_status = document.client_id_status
            if "closed_records" in document.model_fields_set:
                self.closed_records = document.closed_records
            if "foreign_additions" in document.model_fields_set:
                self.foreign_additions = document.foreign_additions

    def change(self, tenant: str, kind: RecordKind, record_id: int, **fields: object) -> None:
        """Change fields of one record, as somebody at ConnectWise's screens would. Raises KeyError or ValueError."""
        if record_id not in self.tenant(tenant).records(kind):
            raise KeyError(record_id)
        changed = {"company_identifier": tenant, kind: [{"id": record_id, **fields}]}
        self.merge(StateDocument.model_validate({"tenants": [changed]}))

    def cancel_addition(self, tenant: str, addition_id: int) -> None:
        """Cancel an addition as of yesterday."""
        self.change(tenant, "additions", addition_id, cancelledDate=_yesterday())

    def expire_agreement(self, tenant: str, agreement_id: int) -> None:
        """Let an agreement end yesterday."""
        self.change(tenant, "agreements", agreement_id, endDate=_yesterday())

    def upgrade(self, tenant: str, codebase: str) -> None:
        """Give a tenant a new codebase, such as `v2025_2/` (connectwise-api.md 1.3)."""
        changed = {"company_identifier": tenant, "codebase": codebase}
        self.merge(StateDocument.model_validate({"tenants": [changed]}))

    def quantity(self, tenant: str, addition_id: int) -> float | None:
        """Return the quantity of an addition."""
        quantity: float | None = self.tenant(tenant).additions[addition_id].get("quantity")
        return quantity

    def set_quantity(self, tenant: str, addition_id: int, quantity: float, member: str = "admin") -> None:
        """Set the quantity of an addition, as another member of the tenant would."""
        with self.lock:
            held = self.tenant(tenant)
            addition = held.additions[addition_id] | {"quantity": float(quantity)}
            derive(addition, held.agreements[addition["agreementId"]])
            touch(addition, member)
            held.put_addition(addition)

    def remove(self, tenant: str, kind: RecordKind, record_id: int) -> None:
        """Delete a record; with an agreement or company goes what belongs to it. Raises KeyError if there is none."""
        with self.lock:
            held = self.tenant(tenant)
            if kind == "companies":
                owned = [one for one, record in held.agreements.items() if record["company"]["id"] == record_id]
                for agreement_id in owned:
                    self.remove(tenant, "agreements", agreement_id)
            removed = held.records(kind).pop(record_id)
            if kind == "agreements":
                for addition_id in held.additions_of.pop(record_id, {}):
                    del held.additions[addition_id]
            if kind == "additions":
                del held.additions_of[removed["agreementId"]][record_id]

    def document(self) -> dict[str, object]:
        """Return the state in the shape of a state document, with private keys masked."""
        with self.lock:
            return {
                "client_id_status": self.client_id_status,
                "closed_records": self.closed_records,
                "foreign_additions": self.foreign_additions,
                "tenants": [
                    tenant.settings.model_dump(mode="json")
                    | {kind: list(tenant.records(kind).values()) for kind in RECORD_KINDS}
                    for tenant in self._tenants.values()
                ],
            }

    def _built(self, change: TenantDocument) -> Tenant:
        held = self._tenants.get(change.company_identifier)
        settings: dict[str, Any] = {}
        for source in (held.settings, change) if held else (change,):
            settings |= {name: getattr(source, name) for name in source.model_fields_set}
        return Tenant.build(
            TenantSettings(**{name: settings[name] for name in TenantSettings.model_fields if name in settings}),
            {kind: _merged(held.records(kind) if held else {}, getattr(change, kind)) for kind in RECORD_KINDS},
        )


def _merged(held: ById, changes: list[Record]) -> Iterable[Record]:
    merged = dict(held)
    for change in changes:
        merged[change["id"]] = overlaid(merged.get(change["id"], {}), change)
    return merged.values()


def _yesterday() -> str:
    return timestamp(datetime.now(UTC) - timedelta(days=1))
