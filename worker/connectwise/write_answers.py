"""ConnectWise's answers to writes, by which a refused write is blamed on the whole connection or on one record."""

from collections.abc import Collection
from dataclasses import dataclass, field

from cwclient import MissingRight
from store import Tx, past_writes
from store.connections import ConnectionVersion
from store.mappings import Addition
from worker.rules.errors import REFUSED_IN_A_ROW, RecordDenied, Unconfirmed, WriteRefused


@dataclass
class WriteAnswers:
    """The additions by ConnectWise's last answer to a write, under one version of the connection.

    `refused`: with 401 or 403, and not accepted since; `in_a_row`: those of them that were refused first since any
    write was accepted.
    """

    accepted: set[Addition] = field(default_factory=set)
    refused: set[Addition] = field(default_factory=set)
    in_a_row: set[Addition] = field(default_factory=set)

    @classmethod
    def from_ledger(cls, tx: Tx, connection: ConnectionVersion, accepted: Collection[Addition]) -> "WriteAnswers":
        """Read them from the ledger; `accepted`: those of this run, which the ledger may not hold yet."""
        answers = cls()
        stored = past_writes.write_answers(tx, connection.partner_id, connection.tenant or "", connection.changed_at)
        for addition, is_accepted in [*stored, *((addition, True) for addition in accepted)]:
            (answers.note_accepted if is_accepted else answers._note_refused)(addition)
        return answers

    def note_accepted(self, addition: Addition) -> None:
        """Note a write that ConnectWise accepted."""
        self.accepted.add(addition)
        self.refused.discard(addition)
        self.in_a_row.clear()

    def _note_refused(self, addition: Addition) -> None:
        self.accepted.discard(addition)
        # One that was refused before others were accepted tells nothing new.
        if addition not in self.refused:
            self.refused.add(addition)
            self.in_a_row.add(addition)

    def blame(self, error: WriteRefused, addition: Addition) -> Unconfirmed | None:
        """Note a refused write. Return RecordDenied if it is about the record, Unconfirmed if nobody can tell yet.

        None = it is the connection: several are refused in a row, or one again while none is known to be accepted.
        """
        again = addition in self.refused
        self._note_refused(addition)
        if len(self.in_a_row) >= REFUSED_IN_A_ROW or (again and not self.accepted):
            return None
        is_record = again and isinstance(error.cause, MissingRight)
        return RecordDenied(error.cause) if is_record else Unconfirmed(error.cause)
