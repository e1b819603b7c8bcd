"""The quantities that a revert puts back, judged from the ledger of the push and from its lines."""

from collections.abc import Collection

from store.past_writes import PushWrite
from store.pushes import Line, Push, Restore
from tests.support.samples import NOVEMBER, PARTNER, TEN, TENANT
from worker.rules.quantities import Answer
from worker.rules.restorations import restorations

OTHER = "eu.myconnectwise.net acme"
PUSH = Push(
    partner_id=PARTNER,
    push_id="p-1",
    message_id="m-1",
    correlation_id="q-1",
    traceparent=None,
    requested_at=TEN,
    requested_by="ana",
    period=NOVEMBER,
    mode="apply",
    connection_changed_at=None,
    line_count=4,
    accepted_at=TEN,
    round=0,
    state="completed",
    body_hash="hash",
)


def _written(
    companies: str = "a", before: float | None = 4.5, wanted: float = 9.0, addition: int = 11, tenant: str = TENANT
) -> PushWrite:
    return PushWrite(tenant, (7, addition), tuple(companies), before, wanted)


def _fates(
    *written: PushWrite, running: str = "", named: Collection[str] | None = None, newer: int = 0
) -> dict[str, object]:
    """The fate of companies a to d, all of which are in the push; an answer by status and code."""
    lines = {
        company: Line(PUSH, company, company.upper(), 1, None, None, "pending" if company in running else "updated")
        for company in "abcd"
    }
    found = restorations(written, lines, named, {(TENANT, (7, newer)): "2026-12"})
    return {
        company: (fate.status, fate.problem.code) if isinstance(fate, Answer) else fate
        for company, fate in found.items()
    }


def _restore(quantity: float = 4.5, holds: float = 9.0, addition: int = 11, tenant: str = TENANT) -> Restore:
    return Restore(tenant, (7, addition), quantity=quantity, holds=holds)


def test_what_was_written_gets_its_former_quantity_back() -> None:
    """Each company that the push wrote, and no other; a decimal quantity as it was, and zero too."""
    fates = _fates(_written("a"), _written("b", before=0.0, addition=12))
    assert fates == {"a": _restore(), "b": _restore(0.0, addition=12)}


def test_of_several_writes_the_first_and_the_last_count() -> None:
    """An addition that a push wrote twice gets back what it held before, if it holds what the push wrote last."""
    fates = _fates(_written(before=4.0, wanted=7.0), _written(before=7.0, wanted=9.0))
    assert fates == {"a": _restore(4.0, 9.0)}


def test_a_named_company_that_was_not_written_is_told() -> None:
    """Also one that was not in the push at all."""
    fates = _fates(_written("a"), named={"a", "b", "zz"})
    assert fates == {"a": _restore(), **dict.fromkeys(("b", "zz"), ("skipped", "not_written"))}


def test_what_cannot_be_written_cannot_be_put_back() -> None:
    """An empty quantity, or one below zero, which some carry as a credit."""
    fates = _fates(_written("a", before=None), _written("b", before=-2.0, addition=12))
    assert fates == dict.fromkeys("ab", ("failed", "no_former_quantity"))


def test_a_sum_is_put_back_whole_or_not_at_all() -> None:
    """The former quantity was that of all its companies."""
    assert _fates(_written("ab")) == dict.fromkeys("ab", _restore())
    assert _fates(_written("ab"), _written("c", addition=12), named={"a", "c"}) == {
        "a": ("held", "revert_incomplete"),
        "c": _restore(addition=12),
    }


def test_a_company_left_a_sum_between_two_writes() -> None:
    """A company in the sum at either time shares its fate: with a quantity in two additions it cannot be put back."""
    fates = _fates(_written("ab", wanted=9.0), _written("a", before=9.0, wanted=5.0))
    assert fates == dict.fromkeys("ab", _restore(4.5, 5.0))
    fates = _fates(_written("ab"), _written("b", addition=12), _written("c", addition=12))
    assert fates == dict.fromkeys("abc", ("failed", "several_additions"))


def test_the_same_ids_at_another_tenant_are_another_addition() -> None:
    """A push that went on after another ConnectWise was connected wrote to two."""
    fates = _fates(_written("a"), _written("b", tenant=OTHER))
    assert fates == {"a": _restore(), "b": _restore(tenant=OTHER)}


def test_what_is_still_under_way_is_not_put_back() -> None:
    """Not the line itself, not those that share its addition; without names it is told too."""
    fates = _fates(_written("ab"), _written("c", addition=12), running="bd")
    assert fates == {**dict.fromkeys("abd", ("failed", "push_running")), "c": _restore(addition=12)}


def test_a_push_that_wrote_nothing_has_nothing_to_put_back() -> None:
    """No lines, if none are named."""
    assert _fates() == {}


def test_what_a_newer_push_wants_stays() -> None:
    """A newer push found the quantity as it wants it, so nothing was written: the value alone would not tell."""
    fates = _fates(_written("ab"), _written("c", addition=12), newer=11)
    assert fates == {**dict.fromkeys("ab", ("failed", "pushed_since")), "c": _restore(addition=12)}
