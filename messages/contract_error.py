"""The refusal of bytes that are no message of the contract."""

from collections.abc import Mapping
from typing import Any, Literal

ContractReason = Literal[
    "content_type",
    "too_large",
    "not_utf8",
    "not_json",
    "too_deep",
    "duplicate_key",
    "not_an_object",
    "unknown_type",
    "unknown_version",
    "type_mismatch",
    "invalid",
]


class ContractError(Exception):
    """A body that is no message of this contract; `detail` shows no value of a connection.

    `type`, `partner_id`, `push_id` and `correlation_id` are given where they can be read, and copied into an answer;
    a revert is answered as the push that its `revert_id` names. `named` are other fields that an answer repeats.
    """

    def __init__(
        self,
        reason: ContractReason,
        detail: str,
        *,
        type: str | None = None,  # noqa: A002 - the envelope's name
        partner_id: str | None = None,
        push_id: str | None = None,
        correlation_id: str | None = None,
        named: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.type = type
        self.partner_id = partner_id
        self.push_id = push_id
        self.correlation_id = correlation_id
        self.named = named or {}
