"""The quantities that a revert puts back, from the writes of the push."""

from collections.abc import Collection, Sequence
from collections.abc import Mapping as Map

from store.mappings import Addition
from store.past_writes import PushWrite
from store.pushes import Line, Restore
from worker.rules.problems import problem
from worker.rules.quantities import Answer

# A tenant and an addition there.
Place = tuple[str, Addition]


def restorations(
    written: Sequence[PushWrite],
    lines: Map[str, Line],
    named: Collection[str] | None,
    newer: Map[Place, str],
    under_way: Collection[str] = (),
) -> dict[str, Restore | Answer]:
    """Return by company id the quantity that its line puts back, or the answer that it gets at once.

    An addition gets back what it held before the first write of the push, if it still holds what the last one wrote.
    Companies that were summed share one answer.

    - `written`: the writes of the push, also those that may have been applied, oldest first
    - `lines`: all lines of the push, by company id
    - `named`: the companies to revert; None = all that the push wrote or is still at work on
    - `newer`: the period, by place, of newer pushes that set the quantity or found it as they want it: it stays
    - `under_way`: the companies of writes that may still land
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
    results: dict[str, Restore | Answer] = {}
    for company_id in sorted(chosen):
        sharing = {company_id}.union(*(summed[place] for place in places.get(company_id, ())))
        several = sorted({place for each in sharing if len(places.get(each, ())) > 1 for place in places[each]})
        missing = [lines[each].company_name if each in lines else each for each in sorted(sharing - chosen)]
        if sharing & running:
            results[company_id] = Answer("failed", problem("push_running"))
        elif company_id not in places:
            results[company_id] = Answer("skipped", problem("not_written"))
        elif several:
            named_additions = [f"{addition} of agreement {agreement}" for _, (agreement, addition) in several]
            results[company_id] = Answer("failed", problem("several_additions", additions=named_additions))
        elif missing:
            results[company_id] = Answer("held", problem("revert_incomplete", others=missing))
        elif places[company_id][0] in newer:
            results[company_id] = Answer("failed", problem("pushed_since", period=newer[places[company_id][0]]))
        else:
            results[company_id] = _restored(wrote[places[company_id][0]])
    return results


def _restored(entries: Sequence[PushWrite]) -> Restore | Answer:
    first, last = entries[0], entries[-1]
    if first.quantity_before is None or first.quantity_before < 0:
        return Answer("failed", problem("no_former_quantity", before=first.quantity_before))
    return Restore(first.tenant, first.addition, quantity=first.quantity_before, holds=last.quantity_wanted)
