"""A partner whose ConnectWise is connected and mapped, with a worker in this process, to spoil and to push."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from cwclient.simulator import StateDocument
from cwclient.simulator.document import Rights
from messages import BillingPeriod, SyncResult
from store import Tx, connections, dead_letters, mappings
from store.schema import leases
from tests.support.waiting import wait_for
from tests.support.world import NOVEMBER, PRIVATE_KEY, World
from worker.sync import completion, fail_open_lines


@dataclass
class Case:
    """Companies 1 and 2 are mapped to additions 100001 and 100002, which hold 1 each; company 3 is not mapped."""

    world: World

    def push(
        self, users: int = 5, *, period: BillingPeriod = NOVEMBER, companies: tuple[int, ...] = (1,)
    ) -> dict[str, SyncResult]:
        """Push the companies; their final results."""
        request = self.world.push("p1", dict.fromkeys(companies, users), period=period)
        self.world.publish(request)
        wait_for(lambda: self.world.state_of(request) == "completed", "the push's completion")
        return {company: answer for company, answer in self.world.answers(request).items() if answer is not None}

    def preview(self, users: int = 5) -> SyncResult | None:
        """Preview company 1; its result."""
        request = self.world.push("p1", {1: users}).model_copy(update={"mode": "preview"})
        self.world.publish(request)
        wait_for(lambda: self.world.state_of(request) == "completed", "the preview")
        return self.world.answers(request)["c1"]

    def dead(self) -> dict[str, int]:
        """Dead letters by reason."""
        with self.world.database.begin() as tx:
            return dead_letters.count_by_reason(tx)

    def set_rights(self, rights: Rights) -> None:
        """Change the security role of the API member."""
        self._set_keys({"public": "public", "private": PRIVATE_KEY, "rights": rights.model_dump()})

    def set_key(self, *private_keys: str) -> None:
        """Replace the API member's private key; of several each is right."""
        self._set_keys(*({"public": "public", "private": private_key} for private_key in private_keys))

    def _set_keys(self, *keys: dict[str, Any]) -> None:
        tenant = {"company_identifier": "cw-p1", "keys": list(keys)}
        self.world.simulator.state.merge(StateDocument.model_validate({"tenants": [tenant]}))

    def is_checked(self) -> bool:
        """True if the connection and both mappings were checked, and none of them is to be checked again."""
        with self.world.database.begin() as tx:
            connection = connections.current(tx, "p1")
            found = mappings.of_partner(tx, "p1")
        if connection is None or len(found) != 2:
            return False
        checks = [(connection.check, connection.check_due_at), *((row.check, row.check_due_at) for row in found)]
        return all(check and due_at is None for check, due_at in checks)

    def is_running(self) -> bool:
        """True if a worker holds the partner's lease."""
        with self.world.database.begin() as tx:
            return tx.execute(select(leases.c.token)).scalar_one() is not None

    def has_mapping_of(self, changed_at: object) -> bool:
        """True if this version of a mapping is stored."""
        with self.world.database.begin() as tx:
            return any(mapping.changed_at == changed_at for mapping in mappings.of_partner(tx, "p1"))

    def checked_versions(self) -> set[object]:
        """The versions of mappings that are stored and checked."""
        with self.world.database.begin() as tx:
            return {mapping.changed_at for mapping in mappings.of_partner(tx, "p1") if mapping.check}

    def checked_mappings(self, since: datetime, count: int) -> dict[str, dict[str, Any]] | None:
        """The results of the checks of the mappings saved since then, by company; None until so many are checked."""
        with self.world.database.begin() as tx:
            found = [mapping for mapping in mappings.of_partner(tx, "p1") if mapping.changed_at >= since]
        checks = {mapping.company_id: mapping.check for mapping in found if mapping.check is not None}
        return checks if len(checks) == count else None

    def check(self) -> dict[str, Any] | None:
        """The result of the stored connection's check; None = there is none yet."""
        with self.world.database.begin() as tx:
            connection = connections.current(tx, "p1")
        return connection.check if connection else None

    def version(self) -> datetime | None:
        """The time at which the stored connection was saved."""
        with self.world.database.begin() as tx:
            connection = connections.current(tx, "p1")
        return connection.changed_at if connection else None

    def tenant(self) -> str | None:
        """The tenant of the stored connection."""
        with self.world.database.begin() as tx:
            connection = connections.current(tx, "p1")
        return connection.tenant if connection else None


def answered_at_once(monkeypatch: pytest.MonkeyPatch, limit: int) -> list[int]:
    """Have at most so many lines fail in one transaction. Returns the numbers of results that are stored together."""
    sizes: list[int] = []
    record = completion.record

    def recorded(tx: Tx, at: datetime, partner_id: str, results: Iterable[SyncResult]) -> None:
        together = list(results)
        sizes.append(len(together))
        record(tx, at, partner_id, together)

    monkeypatch.setattr(fail_open_lines, "AT_ONCE", limit, raising=False)
    monkeypatch.setattr(completion, "record", recorded)
    return sizes


def code(answer: SyncResult) -> str | None:
    """The code of its problem."""
    return answer.problem.code if answer.problem else None
