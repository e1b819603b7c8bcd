"""A flood of messages from one partner: deferred, not lost, and in nobody's way."""

from collections.abc import Sequence
from dataclasses import replace
from queue import Queue
from threading import Event
from time import monotonic

import pytest
from sqlalchemy import func, select, update

from messages import KeyRing, MappingCheckRequested, generate_keypair
from store import Database
from store.database import db_now
from store.line_results import BURST, PER_SECOND
from store.outbox import OutboxRow, claim_deferred, read
from store.schema import EXCHANGE_DEFERRED, outbox
from tests.support.samples import minute
from worker.handlers import HANDLERS
from worker.handlers.context import Context
from worker.health import Readiness
from worker.messaging.broker import Delivery, Settle, Settlement
from worker.messaging.dead_letters import DeadLetters
from worker.messaging.fair_share import LARGE_BYTES, FairShare
from worker.messaging.intake import Intake
from worker.messaging.rates import BYTES_PER_MESSAGE, PartnerRates, Rate
from worker.messaging.store_outage import StoreOutage
from worker.messaging.store_retry import StoreRetry

QUEUE = "connectwise.push-requested.v1"
LETTERS = DeadLetters(KeyRing.parse(generate_keypair().private))


def _message(partner: str, number: int, *, size: int = 0) -> Delivery:
    body = b'{"partner_id": "%s", "n": %d, "x": "%s"}' % (partner.encode(), number, b"x" * size)
    return Delivery(
        kind="push.requested.v1",
        queue=QUEUE,
        body=body,
        properties={"message_id": f"{partner}-{number}", "type": "push.requested.v1", "headers": {"traceparent": "00"}},
        redelivered=False,
    )


class Handled:
    """Takes what is handled although it was to be deferred."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Settlement]:
        """Handle."""
        self.bodies += [delivery.body for delivery in deliveries]
        return [Settlement.ACK] * len(deliveries)


RATES = {"push.requested.v1": Rate(per_second=0.001, burst_seconds=3500.0)}


def _store_retry() -> StoreRetry:
    stop, readiness = Event(), Readiness()
    return StoreRetry(stop, StoreOutage(lambda: None, stop, readiness), readiness)


def _fair_share(database: Database, handled: Handled) -> FairShare:
    return FairShare(PartnerRates(RATES), database, LETTERS.sealed, handled, _store_retry())


def _take(fair_share: FairShare, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return those that are to be handled now; the others are deferred."""
    deferrals = [fair_share.deferral(delivery) for delivery in deliveries]
    if any(deferrals):
        fair_share.defer([deferral for deferral in deferrals if deferral is not None])
    return [delivery for delivery, deferral in zip(deliveries, deferrals, strict=True) if deferral is None]


def test_what_is_over_a_partners_share_is_deferred(database: Database) -> None:
    """A flood is worked off in turns of its own, with its bytes and headers; another partner's push goes at once."""
    flood = [_message("p1", number) for number in range(50)]
    quiet = _message("p2", 1)
    assert _take(_fair_share(database, Handled()), [*flood, quiet]) == [*flood[:4], quiet]
    with database.begin() as tx:
        rows = tx.execute(select(outbox).order_by(outbox.c.not_before)).all()
        assert tx.execute(select(outbox.c.id).where(outbox.c.not_before <= db_now())).all() == []
    assert [row.body for row in rows] == [delivery.body for delivery in flood[4:]]
    assert {(row.exchange, row.routing_key) for row in rows} == {(EXCHANGE_DEFERRED, QUEUE)}
    assert {row.partner_id for row in rows} == {"p1"}
    assert '"traceparent": "00"' in rows[0].properties_json


def _deferred(database: Database) -> list[OutboxRow]:
    """All that was deferred, as if its turn had come, oldest first."""
    rows: list[OutboxRow] = []
    with database.begin() as tx:
        tx.execute(update(outbox).values(not_before=db_now()))
        while found := read(tx, claim_deferred(tx, 60.0, but=())):
            rows += found
    return rows


def test_what_is_to_be_refused_for_its_properties_is_not_deferred(database: Database) -> None:
    """With the header of its turn RabbitMQ might not take it again; it is refused now."""
    flood = [_message("p1", number) for number in range(9)]
    flood = [replace(one, properties={**one.properties, "headers": {"big": "x" * 70_000}}) for one in flood]
    assert _take(_fair_share(database, Handled()), flood) == flood


def test_large_messages_take_more_of_a_share(database: Database) -> None:
    """A few huge pushes are a flood too."""
    large = [_message("p1", number, size=LARGE_BYTES - 100) for number in range(9)]
    assert len(_take(_fair_share(database, Handled()), large)) == 2
    assert LARGE_BYTES > BYTES_PER_MESSAGE


def test_what_is_large_is_handled_from_the_store(database: Database) -> None:
    """The threads of its kind, and memory, are free for what is small, also if it is the first of its partner."""
    large = _message("p1", 1, size=LARGE_BYTES)
    assert _take(_fair_share(database, Handled()), [large, _message("p1", 2)]) == [_message("p1", 2)]
    assert [row.body for row in _deferred(database)] == [large.body]


def test_a_private_key_is_not_deferred_in_clear(database: Database) -> None:
    """A message that may hold a private key, sent by mistake, is stored sealed, and comes back as it was sent."""
    fair_share = _fair_share(database, Handled())
    flood = [
        replace(_message("p1", number), body=b'{"partner_id": "p1", "private_key": "s3cret"}') for number in range(9)
    ]
    _take(fair_share, flood)
    with database.begin() as tx:
        stored = [row.body for row in tx.execute(select(outbox))]
    rows = _deferred(database)
    assert not any(b"s3cret" in body for body in stored)
    assert [LETTERS.unsealed(row).body for row in rows] == [delivery.body for delivery in flood[4:]]


@pytest.mark.parametrize("message_id", ["x" * 200, "with \0", "half of a character \ud800"])
def test_a_flood_may_have_names_that_no_table_holds(database: Database, message_id: str) -> None:
    """Messages of any name are deferred, and handled under the name that they came with."""
    flood = [_message("p1", number) for number in range(9)]
    flood = [replace(one, properties={**one.properties, "message_id": message_id}) for one in flood]
    _take(_fair_share(database, Handled()), flood)
    assert [row.properties["message_id"] for row in _deferred(database)] == [message_id] * 5


def test_what_cannot_be_deferred_is_handled_at_once(database: Database) -> None:
    """An error ends no thread: the messages are handled as if it were their turn."""
    handled = Handled()

    def sealed(_: OutboxRow) -> OutboxRow:
        raise RuntimeError

    fair_share = FairShare(PartnerRates(RATES), database, sealed, handled, _store_retry())
    now = _take(fair_share, [_message("p1", number) for number in range(9)])
    assert len(now) + len(handled.bodies) == 9


def test_one_that_cannot_be_deferred_spoils_no_other(database: Database) -> None:
    """Of a batch with a message that no table takes the others wait for their turn all the same."""
    handled = Handled()

    def sealed(row: OutboxRow) -> OutboxRow:
        if row.message_id == "p1-7":
            raise RuntimeError
        return row

    fair_share = FairShare(PartnerRates(RATES), database, sealed, handled, _store_retry())
    flood = [_message("p1", number) for number in range(9)]
    now = _take(fair_share, flood)
    assert handled.bodies == [flood[7].body]
    assert len(now) + 1 + len(_deferred(database)) == 9


def test_whoever_has_a_name_that_no_table_holds_is_deferred_too(database: Database) -> None:
    """A partner id with a NUL in it is refused when it is handled, at its turn."""
    odd = _message("p\0", 1, size=LARGE_BYTES)
    assert _take(_fair_share(database, Handled()), [odd]) == []
    assert [row.body for row in _deferred(database)] == [odd.body]


def test_a_partner_in_haste_does_not_come_before_all_others(database: Database) -> None:
    """Small messages may take seconds each, such as cancellations of ten thousand lines: each partner has its turn."""
    begun, go_on = Queue[str](), Event()

    def handle(deliveries: Sequence[Delivery]) -> list[Settlement]:
        begun.put(str(deliveries[0].message_id))
        go_on.wait()
        return [Settlement.ACK] * len(deliveries)

    intake = Intake(FairShare(PartnerRates({}), database, LETTERS.sealed, handle, _store_retry()), handle)
    settled = Queue[Settlement]()
    order = ["p1-0", "p1-1", "p2-0", "p1-2", "p1-3"]
    for name in ("p1-0", "p1-1", "p1-2", "p1-3", "p2-0"):
        partner, _, number = name.partition("-")
        message = replace(_message(partner, int(number)), kind="push.cancel_requested.v1")
        intake.deliver(message, Settle(lambda _, settlement: settled.put(settlement)))
        if name == "p1-0":
            assert begun.get() == "p1-0"
    go_on.set()
    assert [settled.get() for _ in order] == [Settlement.ACK] * len(order)
    assert [begun.get() for _ in order[1:]] == order[1:]
    assert intake.stop(monotonic() + 60.0)


def test_answers_to_one_question_about_many_companies_leave_at_a_pace(database: Database) -> None:
    """Ten thousand at once would leave before all other results; nor does the next question add to them."""
    companies = tuple(f"c{number}" for number in range(2 * BURST))
    event = MappingCheckRequested(
        partner_id="p1", correlation_id="q", requested_at=minute(0), requested_by="ana", company_ids=companies
    )
    answered = HANDLERS[MappingCheckRequested](Context(database), event)
    with database.begin() as tx:
        (first, last), number = (
            tx.execute(select(func.min(outbox.c.not_before), func.max(outbox.c.not_before))).one(),
            tx.execute(select(func.count()).select_from(outbox)).scalar_one(),
        )
    assert (answered, number) == (2 * BURST, 2 * BURST)
    assert (last - first).total_seconds() == pytest.approx(BURST / PER_SECOND, rel=0.1)
    rates = PartnerRates()
    rates.charge_results("p1", number)
    assert rates.wait("mapping.check_requested.v1", "p1", 100) > 0
    assert rates.wait("mapping.check_requested.v1", "p2", 100) == 0
