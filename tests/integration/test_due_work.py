"""The jobs that a run has to do, in their order."""

from store import Database, connections, leases, mappings
from tests.support.samples import PARTNER, connection, mapping, push
from tests.support.store import accept
from worker.sync import due_work


def test_the_newest_push_goes_first_be_it_a_preview(database: Database) -> None:
    """Somebody who waits for a preview does not wait for the huge push before it, nor a push for a newer period's."""
    with database.partner(PARTNER) as tx:
        connections.save(tx, connection())
        for number in range(1, 6):
            mappings.save(tx, mapping(f"c-{number}", 10 + number))
    accept(database, push("p-1", {"c-1": 1, "c-2": 1}, at=1))
    accept(database, push("p-2", {"c-3": 1}, at=2, month="2025-10"))
    accept(database, push("p-3", {"c-4": 1}, at=3, mode="preview"))
    with database.begin() as tx:
        found = due_work.load_due_work(tx, PARTNER, leases.due_times(tx, PARTNER)).jobs
    assert [(job.preview, [member.line.company_id for member in job.members]) for job in found] == [
        (True, ["c-4"]),
        (False, ["c-3"]),
        (False, ["c-1"]),
        (False, ["c-2"]),
    ]
