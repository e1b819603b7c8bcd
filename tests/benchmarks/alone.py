"""Measurements of the worker alone: a click on Push, a worker with nothing to do, pushes that are large or in vain."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from threading import Event
from time import perf_counter

from tests.benchmarks import report, usage
from tests.benchmarks.history import history
from tests.benchmarks.our_worker import OurWorker, our_worker
from tests.benchmarks.report import show
from tests.benchmarks.results_queue import Answer
from tests.benchmarks.scenario import Line, Scenario
from tests.benchmarks.servers import durable_database
from tests.benchmarks.stub import StubConnectWise, stub_connectwise
from tests.support.servers import RABBITMQ
from tests.support.waiting import wait_for
from worker.settings import EMBEDDED

CLICKS, BETWEEN_CLICKS = 30, 0.3
SETTLE_SECONDS, IDLE_SECONDS = 5.0, 20.0
UNCHANGED = Scenario(partners=40, lines=25)
HUGE, MANY = 5_000, 10_000
WITHIN = 600.0
BROKERS = ("RabbitMQ", "embedded")


def click() -> Mapping[str, object]:
    """From the publishing of a push of one line to its `sync.result`, in seconds; the worker is idle before."""
    figures: dict[str, object] = {}
    for broker in BROKERS:
        with _installation(broker, Scenario(1, 1)) as (ours, _):
            ours.start()
            times = [_click(ours, turn) for turn in range(1, CLICKS + 1)]
            ours.stop()
        show(f"click, {broker}: median {median(times) * 1000:.0f} ms, least {min(times) * 1000:.0f} ms of {CLICKS}")
        figures[broker] = times
    return figures


def idle() -> Mapping[str, object]:
    """The CPU of a worker that has nothing to do, as a share of one core, and its memory in MiB."""
    figures: dict[str, object] = {}
    for broker in BROKERS:
        with _installation(broker, Scenario(1, 1)) as (ours, _):
            pids = ours.start()
            _click(ours, 1)
            ours.rest()
            Event().wait(SETTLE_SECONDS)
            before, started = usage.cpu_seconds(pids), perf_counter()
            Event().wait(IDLE_SECONDS)
            share, memory = (usage.cpu_seconds(pids) - before) / (perf_counter() - started), usage.mebibytes(pids)
            ours.stop()
        show(f"idle, {broker}: {share:.2%} of a core over {IDLE_SECONDS:.0f} s, {memory:.0f} MiB")
        figures[broker] = {"cpu_share": share, "mebibytes": memory}
    return figures


def unchanged() -> Mapping[str, object]:
    """A thousand lines pushed twice: the second time nothing is written, and how much less time it takes."""
    with _installation("RabbitMQ", UNCHANGED) as (ours, stub):
        ours.start()
        times = []
        for status in ("updated", "unchanged"):
            ours.rest()
            stub.forget()
            started = perf_counter()
            ours.send(list(UNCHANGED.work(turn=1)))
            times.append(ours.results.wait(WITHIN) - started)
            assert ours.results.statuses == {status: UNCHANGED.partners * UNCHANGED.lines}, ours.results.statuses
        asked = stub.seen().asked
        ours.stop()
    first, second = times
    show(
        f"unchanged: {UNCHANGED} in {first:.2f} s, again in {second:.2f} s: {second / first:.2f} times as long,"
        f" {asked.get('PATCH', 0)} PATCH, {asked.get('GET', 0)} GET"
    )
    assert not asked.get("PATCH")
    return {"seconds": times, "asked": asked}


def click_beside() -> Mapping[str, object]:
    """A click while another partner's push of 5,000 lines is under way, which its request budget makes long."""
    figures: dict[str, object] = {}
    for broker in BROKERS:
        with _installation(broker, Scenario(2, HUGE)) as (ours, _):
            ours.keep_mapped(partner=1, companies=1)
            ours.start()
            ours.publish(ours.pushes([Line(2, company, 1) for company in range(1, HUGE + 1)]))
            Event().wait(SETTLE_SECONDS)
            times = [_click(ours, turn, rest=False) for turn in range(1, CLICKS + 1)]
            ours.kill()
        show(
            f"click beside {HUGE:,} lines, {broker}: median {median(times) * 1000:.0f} ms, most {max(times) * 1000:.0f}"
        )
        figures[broker] = times
    return figures


def unmapped() -> Mapping[str, object]:
    """A push of 10,000 companies that are not mapped, without a broker: from its publishing to its completion."""
    with _installation("embedded", Scenario(1, 1)) as (ours, _):
        pids = ours.start()
        ours.rest()
        started = perf_counter()
        ours.send([Line(1, company, 5) for company in range(2, 2 + MANY)])
        seconds = ours.results.wait(WITHIN) - started
        assert ours.results.statuses == {"skipped": MANY}, ours.results.statuses
        peak = usage.peak_mebibytes(pids)
        ours.stop()
    show(f"unmapped: {MANY:,} lines, embedded, in {seconds:.1f} s, peak {peak:.0f} MiB")
    return {"seconds": seconds, "peak_mebibytes": peak}


def large() -> Mapping[str, object]:
    """A push of 10,000 mapped companies: how long it takes to be stored, memory, and a click of another partner."""
    figures: dict[str, object] = {}
    for broker in BROKERS:
        with _installation(broker, Scenario(2, MANY)) as (ours, _):
            ours.keep_mapped(partner=1, companies=1)
            pids = ours.start()
            alone = [_click(ours, turn) for turn in range(1, CLICKS + 1)]
            (push,) = ours.pushes([Line(2, company, 5) for company in range(1, MANY + 1)])
            started = perf_counter()
            ours.publish([push])
            beside = [_click(ours, CLICKS + 1, rest=False, pause=0)]
            wait_for(partial(ours.is_stored, push), "the push", WITHIN)
            accepted = perf_counter() - started
            beside += [_click(ours, CLICKS + turn, rest=False) for turn in range(2, CLICKS + 1)]
            peak = usage.peak_mebibytes(pids)
            ours.kill()
        show(
            f"large, {broker}: {MANY:,} lines were stored within {accepted:.2f} s, peak {peak:.0f} MiB; a click"
            f" {median(alone) * 1000:.0f} ms before, {beside[0] * 1000:.0f} ms meanwhile, then"
            f" {median(beside) * 1000:.0f} ms, most {max(beside) * 1000:.0f} ms"
        )
        figures[broker] = {"accepted": accepted, "peak_mebibytes": peak, "alone": alone, "beside": beside}
    return figures


ALONE: Mapping[str, Callable[[], Mapping[str, object]]] = {
    "click": click,
    "click-beside": click_beside,
    "idle": idle,
    "unchanged": unchanged,
    "unmapped": unmapped,
    "large": large,
    "history": history,
}


@contextmanager
def _installation(broker: str, scenario: Scenario) -> Iterator[tuple[OurWorker, StubConnectWise]]:
    with ExitStack() as stack:
        stub, folder = stack.enter_context(stub_connectwise(scenario.latency)), report.folder()
        if broker == "embedded":
            broker_url, database_url = EMBEDDED, f"sqlite:///{_fresh(folder / 'embedded.db')}"
        else:
            broker_url = stack.enter_context(RABBITMQ.running())
            database_url = stack.enter_context(durable_database())
        yield stack.enter_context(our_worker(broker_url, database_url, folder, scenario, stub)), stub


def _fresh(file: Path) -> Path:
    for left in file.parent.glob(f"{file.name}*"):
        left.unlink()
    return file


def _click(ours: OurWorker, turn: int, *, rest: bool = True, pause: float = BETWEEN_CLICKS) -> float:
    if rest:
        ours.rest()
    Event().wait(pause)
    pushes = ours.pushes([Line(1, 1, 10 + turn)])
    ours.results.expect([Answer(push.push_id, line.company_id) for push in pushes for line in push.lines])
    started = perf_counter()
    ours.publish(pushes)
    return ours.results.wait(WITHIN) - started
