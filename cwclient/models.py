"""The records that we read, with only the fields that we need (connectwise-api.md 1.2, 5).

Deserialised leniently: unknown fields appear with every release, and most fields may be absent or null.
"""

from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel, to_pascal

from cwclient.errors import ServerTrouble, clean


def _printable(value: object) -> object:
    """Text on one line, short, without control, direction and half characters: as a page, log or database takes it."""
    if value is None:
        return ""
    return clean(value) if isinstance(value, str) else value


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a boolean is no number")  # noqa: TRY004 (pydantic wants ValueError)
    return value


def _aware(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


Text = Annotated[str, BeforeValidator(_printable)]
#: A finite number; a numeric string counts as one, as clients send them (connectwise-api.md 6.1).
Number = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
Id = Annotated[int, BeforeValidator(_not_bool)]
#: A record that can be named in a request: ConnectWise's ids are positive 32-bit integers.
RecordId = Annotated[Id, Field(ge=1, le=2**31 - 1)]
#: UTC. An unset date is an absent key, and "" was seen once (connectwise-api.md 5.1).
Date = Annotated[datetime | None, BeforeValidator(lambda value: value or None), AfterValidator(_aware)]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True)


class CompanyInfo(BaseModel):
    """Answer of `login/companyinfo/{company}` (connectwise-api.md 1.2). `is_cloud` comes as a string."""

    model_config = ConfigDict(alias_generator=to_pascal, frozen=True)

    company_name: Text = ""
    codebase: str
    version_code: Text = ""
    is_cloud: bool = False
    site_url: Text = ""


class Count(_Model):
    """Answer of a `count` resource."""

    count: Annotated[Id, Field(ge=0)]


class Reference(_Model):
    """Reference to another record. Which of the names is set depends on the kind of record."""

    id: Id | None = None
    identifier: Text = ""
    name: Text = ""


#: A missing reference reads as an empty one.
Referred = Annotated[Reference, BeforeValidator(lambda value: value or {})]


class Record(_Model):
    """The fields that all records have."""

    id: RecordId


class Company(Record):
    """A company. A deleted one stays readable and looks like a duplicate (connectwise-api.md 5.4)."""

    identifier: Text = ""
    name: Text = ""
    deleted_flag: bool | None = None


class Agreement(Record):
    """An agreement of a company (connectwise-api.md 5.3). `next_invoice_date` is text of no documented format."""

    name: Text = ""
    type: Referred = Reference()
    company: Referred = Reference()
    agreement_status: str | None = None
    cancelled_flag: bool | None = None
    date_cancelled: Date = None
    start_date: Date = None
    end_date: Date = None
    no_ending_date_flag: bool | None = None
    next_invoice_date: Text = ""


class Addition(Record):
    """An addition of an agreement: the line whose quantity is billed (connectwise-api.md 5.1, 5.2).

    `agreement_status` is the agreement's; `additionStatus` is in live data but in no published document.
    """

    agreement_id: Id | None = None
    product: Referred = Reference()
    description: Text = ""
    quantity: Number | None = None
    less_included: Number | None = None
    unit_price: Number | None = None
    bill_customer: str | None = None
    effective_date: Date = None
    cancelled_date: Date = None
    agreement_status: str | None = None
    addition_status: str | None = None


M = TypeVar("M", bound=BaseModel)


def read(model: type[M], value: object) -> M:
    """Validate `value`. Raises ServerTrouble (sent), which names the fields but repeats nothing of their content."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, e["loc"])) or type(value).__name__ for e in error.errors()[:5])
        message = f"ConnectWise answered with something that is no {model.__name__}: {wrong}"
        raise ServerTrouble(message, sent=True, status=200) from None
