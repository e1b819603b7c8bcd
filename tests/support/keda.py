"""KEDA's objects, checked strictly: by models made of its published schemas, and what its triggers read.

The schemas are those of KEDA 2.16, the newest that the package has for Python 3.11. They leave a trigger's `metadata`
open, as each kind of trigger reads fields of its own; those that ours use are here, as KEDA's documentation has them.
"""

from typing import Annotated, Any, Literal

from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

KINDS = {"ScaledObject": ScaledObject, "TriggerAuthentication": TriggerAuthentication}
Number = Annotated[str, Field(pattern=r"^\d+$")]


class Strict(BaseModel):
    """Takes the documented fields only. KEDA gives all numbers and choices as texts."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Postgresql(Strict):
    """A number that a query gives."""

    query: str
    targetQueryValue: Number  # noqa: N815 - KEDA's names here and below


class Rabbitmq(Strict):
    """The messages of queues, by the management API."""

    protocol: Literal["http"]
    mode: Literal["QueueLength", "MessageRate"]
    value: Number
    queueName: str  # noqa: N815
    useRegex: Literal["true", "false"]  # noqa: N815
    operation: Literal["sum", "avg", "max"]


class PostgresqlTrigger(BaseModel):
    """One that asks PostgreSQL."""

    type: Literal["postgresql"]
    metadata: Postgresql


class RabbitmqTrigger(BaseModel):
    """One that asks RabbitMQ."""

    type: Literal["rabbitmq"]
    metadata: Rabbitmq


_TRIGGERS = TypeAdapter(list[Annotated[PostgresqlTrigger | RabbitmqTrigger, Field(discriminator="type")]])


def validate(manifest: dict[str, Any]) -> None:
    """Raise pydantic's ValidationError if KEDA would refuse or ignore a part of it, KeyError if it is not KEDA's."""
    KINDS[manifest["kind"]].model_validate(manifest, extra="forbid", by_alias=True, by_name=False)
    _TRIGGERS.validate_python(manifest["spec"].get("triggers", []))
