"""The quantities that a revert puts back, judged from the push's writes. Pure: no network, database or clock."""

from collections.abc import Collection, Sequence
from collections.abc import Mapping as Map

from store.ledger import PushWrite
from store.mappings import Addition
from store.pushes import Line, Restore
from worker.rules.problems import problem
from worker.rules.quantities import Answer

Place = tuple[str, Addition]
"""A tenant and an addition there."""


def restorations(
    written: Sequence[PushWrite],
    lines: Map[str, Line],
    named: Collection[str] | None,
    newer: Map[Place, str],
    under_way: Collection[str] = (),
) -> dict[str, Restore | Answer]:
    """By company: what its line puts back, or the answer that it gets at once.

    `written` is what the push wrote or may have written, oldest first; `lines` are all of its lines by company id;
    `named` None = revert all that it wrote, and all that it is still at work on. An addition gets back what it held
    before the first write of the push, if it still holds what the last one wrote. Companies that were summed into one
    share one fate. `newer` are the places that newer pushes have set, or found as they want them, with their period:
    these stay. `under_way` are the companies of writes that may still land.
    """
    wrote: dict[Place, list[PushWrite]] = {}
    for entry in written:
        wrote.setdefault((entry.tenant, entry.addition), []).append(entry)
    summed = {
        place: {company for entry in entries for company in entry.company_ids} for place, entries in wrote.items()
    }
    places: dict[str, list[Place]] = {}
    for place, companies in summed.items():
        for company_id in companies:
            places.setdefault(company_id, []).append(place)
    running = {company_id for company_id, line in lines.items() if line.is_open or company_id in under_way}
    chosen = places.keys() | running if named is None else set(named)
    found: dict[str, Restore | Answer] = {}
    for company_id in sorted(chosen):
        sharing = {company_id}.union(*(summed[place] for place in places.get(company_id, ())))
        several = sorted({place for one in sharing if len(places.get(one, ())) > 1 for place in places[one]})
        missing = [lines[one].company_name if one in lines else one for one in sorted(sharing - chosen)]
        if sharing & running:
            found[company_id] = Answer("failed", problem("push_running"))
        elif company_id not in places:
            found[company_id] = Answer("skipped", problem("not_written"))
        elif several:
            named_additions = [f"{addition} of agreement {agreement}" for _, (agreement, addition) in several]
            found[company_id] = Answer("failed", problem("several_additions", additions=named_additions))
        elif missing:
            found[company_id] = Answer("held", problem("revert_incomplete", others=missing))
        elif places[company_id][0] in newer:
            found[company_id] = Answer("failed", problem("pushed_since", period=newer[places[company_id][0]]))
        else:
            found[company_id] = _restored(wrote[places[company_id][0]])
    return found


def _restored(entries: Sequence[PushWrite]) -> Restore | Answer:
    first, last = entries[0], entries[-1]
    if first.quantity_before is None or first.quantity_before < 0:
        return Answer("failed", problem("no_former_quantity", before=first.quantity_before))
    return Restore(first.tenant, first.addition, quantity=first.quantity_before, holds=last.quantity_wanted)
