"""The life of a connection: what pushes prove of it, checked again, disconnected."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cwclient.simulator import faults
from cwclient.simulator.document import Rights
from cwclient.simulator.faults import Match
from messages import ConnectionChanged, ConnectionChecked, ConnectionCheckRequested
from store import leases, pauses
from store.schema import connections
from tests.support.case import Case, code
from tests.support.waiting import wait_for, within
from tests.support.world import World, now
from worker import app
from worker.connectwise import rate_limit
from worker.rules import health, retry
from worker.sync import run

EDIT = "Finance > Agreements: Edit (All)"
ADDITION = Match(path=r"/additions/")


def _requested(partner: str = "p1") -> ConnectionCheckRequested:
    return ConnectionCheckRequested(
        partner_id=partner, correlation_id="test", requested_at=now(), requested_by="ana@msp.example"
    )


def _disconnected() -> ConnectionChanged:
    return ConnectionChanged(partner_id="p1", correlation_id="test", changed_at=now(), disconnected=True)


def _edit(check: dict[str, Any] | None) -> str | None:
    rights = {right["right"]: right["state"] for right in (check or {}).get("rights", ())}
    return rights.get(EDIT)


def _check_again(case: Case) -> dict[str, Any]:
    before = (case.check() or {})["id"]
    case.world.publish(_requested())
    wait_for(lambda: (case.check() or {})["id"] != before, "the check")
    return case.check() or {}


def _told(case: Case) -> list[tuple[str, str | None]]:
    """(status, state of the Edit right) of each connection.checked that the platform got."""
    assert case.world.platform is not None
    received = [one for one in list(case.world.platform.received) if isinstance(one, ConnectionChecked)]
    return [(one.status, _edit(one.model_dump(mode="json"))) for one in received]


def test_the_first_write_proves_the_edit_right_and_says_so_once(busy: Case) -> None:
    """The platform hears of the Edit right when it changes: not with every write, and not for the asking."""
    busy.push(5, companies=(1, 2))
    busy.push(6, companies=(1, 2))
    wait_for(lambda: len(_told(busy)) >= 2, "the news")
    assert _told(busy) == [("ok", "unproven"), ("ok", "granted")]

    busy.set_rights(Rights(agreements_edit="none"))
    assert {code(answer) for answer in busy.push(7, companies=(1, 2)).values()} == {"missing_agreement_edit"}
    wait_for(lambda: len(_told(busy)) >= 3, "the news")
    assert _told(busy)[2:] == [("failed", "denied")]

    busy.set_rights(Rights())
    assert busy.push(8)["c1"].status == "updated"
    busy.push(9)
    wait_for(lambda: len(_told(busy)) >= 4, "the news")
    assert _told(busy)[3:] == [("ok", "granted")]


def test_a_check_of_what_is_not_connected_is_answered(busy: Case) -> None:
    """Every question gets an answer, also of a partner that never connected."""
    busy.world.publish(_requested("stranger"))
    platform = busy.world.platform
    assert platform is not None
    answers = wait_for(lambda: [one for one in list(platform.received) if one.partner_id == "stranger"], "the answer")
    assert isinstance(answers[0], ConnectionChecked)
    assert answers[0].problem is not None
    assert answers[0].problem.code == "not_connected"


def test_a_denied_edit_right_is_named_until_a_write_is_taken(case: Case) -> None:
    """A check cannot prove that the role was mended: it says what the last write met."""
    case.set_rights(Rights(agreements_edit="none"))
    case.push()
    wait_for(lambda: _edit(case.check()) == "denied", "the news")
    checked = _check_again(case)
    assert (checked["status"], checked["problem"]["code"], _edit(checked)) == (
        "failed",
        "missing_agreement_edit",
        "denied",
    )
    assert "Finance > Agreements > Edit" in checked["problem"]["fix"]
    case.set_rights(Rights())
    assert case.push()["c1"].status == "updated"
    wait_for(lambda: _edit(case.check()) == "granted", "the news")
    assert _check_again(case)["problem"] is None
    assert _edit(case.check()) == "granted"


def test_a_new_connection_has_to_prove_it_anew(case: Case) -> None:
    """A right that another key pair has proven says nothing of this one."""
    case.push()
    wait_for(lambda: _edit(case.check()) == "granted", "the news")
    event = case.world.connected("p1")
    case.world.publish(event)
    saved = event.model_dump(mode="json")["changed_at"]
    wait_for(lambda: (case.check() or {}).get("changed_at") == saved, "the check")
    assert _edit(case.check()) == "unproven"


def test_a_connection_is_checked_again_when_asked(case: Case) -> None:
    """After the role was changed in ConnectWise nobody has to enter the keys again to see it."""
    case.set_rights(Rights(agreements_inquire="none"))
    checked = _check_again(case)
    assert (checked["status"], checked["problem"]["code"]) == ("failed", "missing_agreement_inquire")
    case.set_rights(Rights())
    assert _check_again(case)["status"] == "ok"


def test_mapped_agreements_that_the_role_hides_are_named(case: Case) -> None:
    """A role limited to some agreement types works, but a warning names the mapped agreements that it hides."""
    assert _check_again(case)["warnings"] == []
    case.world.simulator.state.change("cw-p1", "agreements", 1002, type={"id": 2, "name": "Backup"})
    case.set_rights(Rights(agreement_types=("Managed Services",)))
    checked = _check_again(case)
    assert (checked["status"], [warning["code"] for warning in checked["warnings"]]) == ("ok", ["hidden_agreements"])
    assert "Agreement 2 (#1002)." in checked["warnings"][0]["detail"]
    assert "Agreement 1" not in checked["warnings"][0]["detail"]
    assert "customize" in checked["warnings"][0]["fix"]


def test_a_disconnect_forgets_the_key_and_fails_what_is_open(case: Case) -> None:
    """After a disconnect no version of the connection holds a key, and what was asked is answered."""
    case.world.simulator.faults.set([faults.Status(status=500, match=ADDITION)])
    request = case.world.push("p1", {1: 5, 2: 5})
    case.world.publish(request)
    wait_for(
        lambda: {one.status for one in case.world.answers(request).values() if one} == {"retrying"}, "the first tries"
    )
    case.world.publish(_disconnected())
    wait_for(lambda: case.world.state_of(request) == "completed", "the push's completion")
    answers = case.world.answers(request)
    assert {(one.status, code(one)) for one in answers.values() if one} == {("failed", "not_connected")}
    with case.world.database.begin() as tx:
        kept = tx.execute(select(connections.c.box, connections.c.key_id, connections.c.ca_bundle)).all()
    assert set(kept) == {(None, None, None)}


def test_a_disconnect_ends_a_slice_that_runs(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a disconnect is stored, ConnectWise is asked nothing more but what is under way."""
    count = 60
    monkeypatch.setattr(run, "LOAD_SECONDS", 60.0)
    monkeypatch.setattr(rate_limit, "PER_MINUTE", 60_000.0)
    monkeypatch.setattr(rate_limit, "BURST", 1_000.0)
    with World("local:", sqlite_url, tmp_path, companies=count, call_timeout=within(2.0)) as world:
        world.simulator.faults.set([faults.Latency(seconds=within(0.4), match=ADDITION)])
        case = Case(world)
        connected, mapped = world.connected("p1"), [world.mapped("p1", n) for n in range(1, count + 1)]
        request = world.push("p1", dict.fromkeys(range(1, count + 1), 5), connection=connected, mappings=mapped)
        with app.build(world.settings):
            world.publish(connected, *mapped, request)
            wait_for(world.writes, "the first write")
            world.publish(_disconnected())
            wait_for(lambda: world.state_of(request) == "completed", "the push's completion")
            assert case.tenant() is None
        answers = [one for one in world.answers(request).values() if one is not None]
        asked = {one["path"] for one in world.simulator.log if "/additions/" in one["path"]}
        failed = {code(one) for one in answers if one.status != "updated"}
        assert len(asked) < count == len(answers)
        assert failed == {"not_connected"}
        assert None not in {row.outcome for row in world.ledger()}


def test_a_check_that_is_asked_for_during_a_run_does_not_wait_for_its_pause(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run finds ConnectWise silent and leaves it alone for long: who asked meanwhile is answered all the same."""
    monkeypatch.setattr(health, "UNREACHABLE_IN_A_ROW", 1)
    monkeypatch.setattr(retry, "backoff", lambda *_: 300.0)
    case.world.simulator.faults.set([faults.Hang(match=ADDITION)])
    asked = len(case.world.simulator.log)
    case.world.publish(case.world.push("p1", {1: 5}))
    wait_for(lambda: len(case.world.simulator.log) > asked, "the call that hangs")
    assert case.is_running()
    assert _check_again(case)["status"] == "ok"


def test_a_check_while_an_operator_has_paused_the_partner_is_answered(busy: Case) -> None:
    """Nobody waits in vain: the answer says that it is paused, and the check is made once the pause has ended."""
    platform, before = busy.world.platform, (busy.check() or {})["id"]
    assert platform is not None
    with busy.world.database.partner("p1") as tx:
        pauses.pause(tx, "p1", "ops", "they upgrade")
    event = _requested()
    busy.world.publish(event)

    def answer() -> ConnectionChecked | None:
        received = [one for one in list(platform.received) if one.causation_id == str(event.id)]
        return next((one for one in received if isinstance(one, ConnectionChecked)), None)

    told = wait_for(answer, "the answer")
    assert told is not None
    assert told.problem is not None
    assert (told.status, told.problem.code, (busy.check() or {})["id"]) == ("failed", "paused", before)
    with busy.world.database.partner("p1") as tx:
        pauses.resume(tx, "p1")
        leases.wake(tx, "p1")
    wait_for(lambda: (busy.check() or {})["id"] != before, "the check")
    assert (busy.check() or {})["status"] == "ok"


def test_a_check_that_met_an_outage_is_made_again_once_a_write_is_taken(case: Case) -> None:
    """A connection that was saved while ConnectWise was away turns green by itself when a push gets through."""
    case.world.simulator.faults.set([faults.Status(status=503, match=Match(path=r"/count$"))])
    connected = case.world.connected("p1")
    case.world.publish(connected)
    wait_for(lambda: case.version() == connected.changed_at and case.check(), "the check")
    assert (case.check() or {})["problem"]["code"] == "unreachable"
    case.world.simulator.faults.clear()
    assert case.push(7)["c1"].status == "updated"
    wait_for(lambda: (case.check() or {})["status"] == "ok", "the second check")
    assert _edit(case.check()) == "granted"


def test_a_check_that_fails_beside_a_push_is_not_made_on_and_on(case: Case) -> None:
    """A write that was taken before says nothing about it: ConnectWise is left alone."""
    case.push(5)
    before = _lookups(case)
    slow = faults.Latency(seconds=run.FLUSH_SECONDS * 1.5, match=Match(path="/additions/100002"))
    case.world.simulator.faults.set([slow, faults.Status(status=503, match=Match(path="/count$"))])
    push = case.world.push("p1", {1: 7, 2: 1})
    case.world.publish(push)
    wait_for(lambda: len(case.world.writes()) == 2, "the write")
    case.world.publish(_requested())
    wait_for(lambda: _lookups(case) > before, "the check")
    wait_for(lambda: case.world.state_of(push) == "completed" and not case.is_running(), "the end of the run")
    assert _lookups(case) == before + 1


def _lookups(case: Case) -> int:
    """The checks that ConnectWise has met: each looks its base URL up."""
    return sum("companyinfo" in entry["path"] for entry in case.world.simulator.log)
