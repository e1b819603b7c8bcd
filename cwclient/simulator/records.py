"""Records of a state document made whole: defaults for what is left out, and the values that ConnectWise derives.

A record has the shape and field names of ConnectWise's JSON (connectwise-api.md 5). Defaults are ours, chosen so that a
state document need only name what matters.
"""

from datetime import UTC, datetime
from typing import Any

from cwclient.simulator.schema import Record, timestamp

BEGINNING = "2024-01-01T00:00:00Z"

# When the first is changed, the others no longer hold, and are derived anew unless they are stated along with it.
_CONSEQUENCES = {
    "endDate": ("agreementStatus", "noEndingDateFlag"),
    "cancelledFlag": ("agreementStatus",),
    "agreementStatus": ("cancelledFlag",),
    "cancelledDate": ("additionStatus",),
}


def overlaid(record: Record, changes: Record) -> Record:
    """Lay changed fields over a record, without what followed from their old values."""
    stale = {name for cause in changes for name in _CONSEQUENCES.get(cause, ())}
    return {name: value for name, value in record.items() if name not in stale} | changes


def _stated(record: Record) -> Record:
    """Leave out what is null: in a state document null means "as if not given"."""
    return {name: value for name, value in record.items() if value is not None}


def _info() -> dict[str, str]:
    return {"lastUpdated": BEGINNING, "updatedBy": "admin"}


def touch(record: Record, member: str) -> None:
    """Note in `_info` that `member` changed the record now (connectwise-api.md 7.4)."""
    record["_info"] = {"lastUpdated": timestamp(datetime.now(UTC)), "updatedBy": member}


def complete_company(given: Record) -> Record:
    """Fill in a company (connectwise-api.md 5.4): from `{id}` alone up to everything."""
    stated = _stated(given)
    name = stated.get("name", f"Company {stated['id']}")
    identifier = "".join(character for character in name if character.isalnum())
    defaults: Record = {
        "id": stated["id"],
        "identifier": identifier or f"Company{stated['id']}",
        "name": name,
        "status": {"id": 1, "name": "Active"},
        "deletedFlag": False,
        "types": [],
        "_info": _info(),
    }
    return defaults | stated


def complete_agreement(given: Record, company: Record) -> Record:
    """Fill in an agreement (connectwise-api.md 5.3): from `{id, company: {id}}` up to everything.

    A status that is not stated follows `cancelledFlag`, then `endDate`.
    """
    stated = _stated(given)
    defaults: Record = {
        "id": stated["id"],
        "name": f"Agreement {stated['id']}",
        "type": {"id": 1, "name": "Managed Services"},
        "contact": {"id": 1, "name": "Accounts Payable"},
        "startDate": BEGINNING,
        "noEndingDateFlag": "endDate" not in stated,
        "cancelledFlag": stated.get("agreementStatus") == "Cancelled",
        "billAmount": 0.0,
        "prorateFlag": False,
        "_info": _info(),
    }
    agreement = defaults | stated
    agreement["company"] = {name: company[name] for name in ("id", "identifier", "name")}
    if "agreementStatus" not in agreement:
        over = "endDate" in agreement and agreement["endDate"] < timestamp(datetime.now(UTC))
        agreement["agreementStatus"] = "Cancelled" if agreement["cancelledFlag"] else "Expired" if over else "Active"
    return agreement


def complete_catalog_item(given: Record) -> Record:
    """Fill in a product of the catalogue (connectwise-api.md 5.4): from `{id}` alone up to everything."""
    stated = _stated(given)
    identifier = stated.get("identifier", f"PRODUCT-{stated['id']}")
    description = stated.get("description", identifier)
    defaults: Record = {
        "id": stated["id"],
        "identifier": identifier,
        "description": description,
        "inactiveFlag": False,
        "subcategory": {"id": 1, "name": "Security"},
        "type": {"id": 1, "name": "Software"},
        "productClass": "Agreement",
        "price": 0.0,
        "cost": 0.0,
        "customerDescription": description,
        "_info": _info(),
    }
    return defaults | stated


def complete_addition(given: Record, agreement: Record) -> Record:
    """Fill in an addition (connectwise-api.md 5.1, 5.2): from `{id, agreementId}` up to everything.

    A status that is not stated follows `cancelledDate`.
    """
    stated = _stated(given)
    product: dict[str, Any] = {"id": 1, "identifier": "PRODUCT", "serializedFlag": False} | stated.get("product", {})
    defaults: Record = {
        "id": stated["id"],
        "quantity": 1.0,
        "lessIncluded": 0.0,
        "unitPrice": 0.0,
        "unitCost": 0.0,
        "billCustomer": "Billable",
        "effectiveDate": agreement["startDate"],
        "taxableFlag": True,
        "invoiceDescription": product["identifier"],
        "description": product["identifier"],
        "uom": "Each",
        "sequenceNumber": 1.0,
        "prorateCost": 0.0,
        "proratePrice": 0.0,
        "_info": _info(),
    }
    addition = defaults | stated | {"product": product}
    derive(addition, agreement)
    return addition


def derive(addition: Record, agreement: Record) -> None:
    """Compute what follows from the other fields (connectwise-api.md 5.1, 6.1).

    Documented are billed = quantity - lessIncluded, and price = billed x unitPrice; that cost, margin and the prorated
    amounts follow the same billed quantity is our assumption.
    """
    billed = (addition.get("quantity") or 0.0) - (addition.get("lessIncluded") or 0.0)
    price, cost = (round(billed * (addition.get(name) or 0.0), 6) for name in ("unitPrice", "unitCost"))
    addition["agreementId"] = agreement["id"]
    addition["agreementStatus"] = agreement["agreementStatus"]
    addition["billedQuantity"] = billed
    addition["extPrice"] = price
    addition["extCost"] = cost
    addition["margin"] = round(price - cost, 6)
    addition["extendedProrateCost"] = round(billed * (addition.get("prorateCost") or 0.0), 6)
    addition["extendedProratePrice"] = round(billed * (addition.get("proratePrice") or 0.0), 6)
    if "additionStatus" not in addition:
        over = "cancelledDate" in addition and addition["cancelledDate"] <= timestamp(datetime.now(UTC))
        addition["additionStatus"] = "Cancelled" if over else "Active"
