"""The consequence of an error: tables of cases, with chance and time passed in."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cwclient
from cwclient import (
    BadCredentials,
    CaBundleUnreadable,
    CertificateExpired,
    CertificateNameMismatch,
    CertificateRefused,
    CertificateUntrusted,
    ClientIdRefused,
    ConnectWiseError,
    ForbiddenHost,
    GatewayRefused,
    HostUnknown,
    InvalidSite,
    MissingRight,
    NotConnectWise,
    NotHttps,
    QuantityNotKept,
    QuestionRefused,
    RateLimited,
    RecordBusy,
    RecordNotFound,
    RecordRefused,
    RequestRefused,
    ServerTrouble,
    UnknownCompany,
    Unreachable,
    VersionRefused,
    WrongRoute,
)
from store.leases import Health
from tests.support.samples import TEN, minute
from worker.rules import errors, retry
from worker.rules.errors import RecordDenied, SealKeyMissing, Unconfirmed
from worker.rules.health import health_after
from worker.rules.outcomes import ErrorOutcome, FailLine, FailPartner, PausePartner, RetryLine, classify
from worker.rules.problems import AGREEMENT_EDIT, MISSING_RIGHT

# error, outcome's class, problem's code, dead letters' reason or seconds at the first attempt and chance 1
OUTCOMES: list[tuple[BaseException, type[ErrorOutcome], str, str | float | None]] = [
    (RecordRefused("no"), FailLine, "record_refused", None),
    (RecordNotFound("no"), FailLine, "record_not_found", None),
    (RecordBusy("no"), RetryLine, "record_busy", 2.0),
    (RecordBusy("no", retry_after=7.0), RetryLine, "record_busy", 7.0),
    (Unconfirmed(BadCredentials("no", status=401)), RetryLine, "server_trouble", 2.0),
    (RecordDenied(MissingRight("no", status=403)), FailLine, "record_denied", None),
    (QuantityNotKept(42.0, 40.0), FailLine, "not_kept", None),
    (ConnectWiseError("no"), FailLine, "record_refused", None),
    (errors.RestrictedAgreement(), FailLine, "restricted_agreement", None),
    (BadCredentials("no"), FailPartner, "bad_credentials", "credentials"),
    (MissingRight("no"), FailPartner, "missing_agreement_edit", "credentials"),
    (errors.RightRefused(AGREEMENT_EDIT), FailPartner, "missing_agreement_edit", "credentials"),
    (errors.KeyUnreadable("no"), FailPartner, "key_unreadable", "credentials"),
    (errors.SealKeyUnknown("no"), FailPartner, "seal_key_unknown", "credentials"),
    (CertificateRefused("no"), FailPartner, "certificate", "connection"),
    (CertificateUntrusted("no"), FailPartner, "certificate_untrusted", "connection"),
    (CertificateNameMismatch("no"), FailPartner, "certificate_name", "connection"),
    (CertificateExpired("no"), FailPartner, "certificate_expired", "connection"),
    (CaBundleUnreadable("no"), FailPartner, "ca_bundle_unreadable", "connection"),
    (ForbiddenHost("no"), FailPartner, "address_forbidden", "connection"),
    (NotHttps("no"), FailPartner, "address_not_https", "connection"),
    (WrongRoute("no", status=400), FailPartner, "wrong_route", "connection"),
    (WrongRoute("no", status=404), FailPartner, "not_connectwise", "connection"),
    (WrongRoute("no", status=302), FailPartner, "not_connectwise", "connection"),
    (InvalidSite("no"), FailPartner, "address_unreadable", "connection"),
    (HostUnknown("no", sent=False), RetryLine, "host_unknown", 2.0),
    (NotConnectWise("no", sent=True), RetryLine, "not_connectwise", 2.0),
    (errors.KeyMismatch("no", ["Company ID"]), FailPartner, "key_mismatch", "credentials"),
    (UnknownCompany("acme"), FailPartner, "unknown_company", "connection"),
    (ClientIdRefused("no"), PausePartner, "client_id", 300.0),
    (RequestRefused("no"), PausePartner, "request_refused", 300.0),
    (SealKeyMissing("no"), PausePartner, "seal_key_missing", 300.0),
    (VersionRefused("no"), PausePartner, "api_version", 300.0),
    (errors.RouteUnknown(WrongRoute("no", status=400), 200.0), PausePartner, "moved", 200.0),
    (GatewayRefused("no", sent=True), RetryLine, "gateway_refused", 2.0),
    (QuestionRefused(RecordRefused("no")), RetryLine, "server_trouble", 2.0),
    (RateLimited("no", retry_after=7.0), PausePartner, "rate_limited", 7.0),
    (RateLimited("no"), PausePartner, "rate_limited", 30.0),
    (Unreachable("no", sent=False), RetryLine, "unreachable", 2.0),
    (ServerTrouble("no", sent=True), RetryLine, "server_trouble", 2.0),
    (ServerTrouble("no", sent=True, retry_after=40.0), RetryLine, "server_trouble", 40.0),
    (errors.NotStarted(), RetryLine, "unexpected", 0.0),
    (RuntimeError("a bug of ours"), RetryLine, "unexpected", 2.0),
]


def _detail(outcome: ErrorOutcome) -> str | float | None:
    match outcome:
        case FailLine():
            return None
        case FailPartner():
            return outcome.reason
        case RetryLine() | PausePartner():
            return outcome.seconds


@pytest.mark.parametrize(("error", "kind", "code", "detail"), OUTCOMES, ids=lambda value: type(value).__name__)
def test_each_error_has_its_remedy(
    error: BaseException, kind: type[ErrorOutcome], code: str, detail: str | float | None
) -> None:
    """The line, all lines, or nobody is answered, now or later, as the error's remedy asks."""
    outcome = classify(error, attempts=0, chance=1.0)
    assert (type(outcome), outcome.problem.code, _detail(outcome)) == (kind, code, detail)


def test_every_error_of_the_client_is_judged_here() -> None:
    """A class that the client gets is given its remedy, and not by accident that of another."""
    known = {one for one in vars(cwclient).values() if isinstance(one, type) and issubclass(one, ConnectWiseError)}
    assert known == {type(error) for error, *_ in OUTCOMES if type(error) in vars(cwclient).values()}


@pytest.mark.parametrize("right", MISSING_RIGHT)
def test_a_missing_right_names_the_row_to_change(right: str) -> None:
    """The ConnectWise administrator reads which right to set to All."""
    outcome = classify(errors.RightRefused(right), attempts=0, chance=0.5)
    assert right in outcome.problem.detail
    row, _, level = right.removesuffix(" (All)").partition(": ")
    assert f"{row} > {level}" in outcome.problem.fix
    assert str(outcome.problem.where).endswith(f"{row} > {level}")


@pytest.mark.parametrize(("attempts", "kind"), [(0, RetryLine), (1, RetryLine), (2, FailLine), (99, FailLine)])
def test_a_bug_of_ours_is_tried_three_times(attempts: int, kind: type[ErrorOutcome]) -> None:
    """An error that nobody foresaw ends as an answer, not as a loop."""
    outcome = classify(KeyError("ours"), attempts=attempts, chance=0.5)
    assert type(outcome) is kind
    assert outcome.problem.code == "unexpected"


def test_an_answer_that_nothing_confirms_is_tried_three_times() -> None:
    """A record that is refused again and again, as if it were the connection, fails alone in the end."""
    error = Unconfirmed(BadCredentials("no", status=401))
    assert [type(classify(error, attempts=count, chance=0.5)) for count in range(3)] == [RetryLine, RetryLine, FailLine]


@pytest.mark.parametrize("met", [CertificateExpired("no"), ForbiddenHost("no"), UnknownCompany("acme")])
def test_what_no_record_can_cause_is_held_against_none(met: ConnectWiseError) -> None:
    """One bad node behind a balancer: its lines wait until RETRY_FOR, and nobody looks for a fault in their records."""
    outcome = classify(Unconfirmed(met), attempts=99, chance=0.5)
    assert (type(outcome), outcome.problem.code) == (RetryLine, "server_trouble")


@pytest.mark.parametrize("attempts", [3, 1000])
def test_trouble_of_theirs_is_retried_whatever_the_count(attempts: int) -> None:
    """The wait for a server ends by time, not by attempts."""
    assert type(classify(Unreachable("no", sent=False), attempts=attempts, chance=0.5)) is RetryLine


@pytest.mark.parametrize(
    ("attempts", "chance", "seconds"),
    [(0, 1.0, 2.0), (1, 1.0, 4.0), (3, 0.5, 8.0), (7, 1.0, 256.0), (8, 1.0, 300.0), (9, 0.5, 150.0), (0, 0.0, 0.5)],
)
def test_the_back_off_doubles_to_five_minutes(attempts: int, chance: float, seconds: float) -> None:
    """A server in trouble is asked less and less often."""
    assert retry.backoff(attempts, chance) == seconds


@given(attempts=st.integers(0, 100_000), chance=st.floats(0, 1))
def test_the_back_off_stays_within_its_bounds(attempts: int, chance: float) -> None:
    """A retry is never at once, and never later than in five minutes."""
    assert 0.5 <= retry.backoff(attempts, chance) <= 300.0


@given(attempts=st.integers(0, 40), chance=st.floats(0, 1), retry_for=st.integers(1, 100_000))
def test_no_wait_makes_giving_up_late(attempts: int, chance: float, retry_for: int) -> None:
    """Giving up after RETRY_FOR is late by at most a tenth of it, or by less than 15 s."""
    longest = retry.longest_wait(timedelta(seconds=retry_for))
    assert retry.backoff(attempts, chance, longest) <= max(2.0, retry_for / 10)


@pytest.mark.parametrize(
    ("retry_for", "failing", "seconds"),
    [(3600, 3600, 345), (3600, 3000, 945), (90, 85, 5), (90, 60, 30), (300, 300, 15)],
)
def test_a_last_write_is_cut_short_only_to_be_in_time(retry_for: int, failing: int, seconds: float) -> None:
    """With RETRY_FOR of an hour a slow server has all the time of a call: a line may be late by a tenth."""
    since = TEN - timedelta(seconds=failing)
    assert retry.seconds_for_write((None, since), TEN, timedelta(seconds=retry_for)) == seconds


@pytest.mark.parametrize(
    ("first_failed_at", "given_up"),
    [(None, False), (minute(0), True), (minute(-1), True), (minute(0.1), False), (minute(60), False)],
)
def test_what_fails_for_an_hour_is_given_up(first_failed_at: datetime | None, *, given_up: bool) -> None:
    """A partner gets an answer in the end, also when ConnectWise never comes back."""
    assert retry.is_given_up(first_failed_at, minute(60), timedelta(hours=1)) == given_up


DOWN = Unreachable("no", sent=False)
ONCE = Health(unreachable_count=1, unreachable_since=TEN)
TWICE = Health(unreachable_count=2, unreachable_since=TEN)


LIMITED = RateLimited("no", retry_after=60)


def _after(health: Health, error: BaseException | None) -> Health:
    outcome = None if error is None else classify(error, attempts=0, chance=1.0)
    return health_after(health, error, outcome, minute(1), chance=1.0)


def _paused(minutes: float, why: str, health: Health) -> Health:
    return replace(health, paused_until=minute(minutes), paused_why=why)


@pytest.mark.parametrize(
    ("health", "error", "after"),
    [
        pytest.param(Health(), None, Health(), id="all is well"),
        pytest.param(Health(), DOWN, Health(unreachable_count=1, unreachable_since=minute(1)), id="first failure"),
        pytest.param(ONCE, DOWN, TWICE, id="second failure"),
        pytest.param(TWICE, DOWN, _paused(1 + 2 / 60, "unreachable", replace(TWICE, unreachable_count=3)), id="third"),
        pytest.param(
            TWICE,
            Unreachable("no", sent=True, retry_after=120.0),
            _paused(3, "unreachable", replace(TWICE, unreachable_count=3)),
            id="a server that says when to come back is left alone until then",
        ),
        pytest.param(
            replace(TWICE, unreachable_count=5),
            DOWN,
            _paused(1 + 16 / 60, "unreachable", replace(TWICE, unreachable_count=6)),
            id="each probe that fails doubles the pause",
        ),
        pytest.param(TWICE, None, Health(), id="it answers again"),
        pytest.param(TWICE, RecordRefused("no"), Health(), id="a refusal is an answer"),
        pytest.param(TWICE, ServerTrouble("no", sent=True), Health(), id="an error of its own is an answer"),
        pytest.param(TWICE, errors.NotStarted(), TWICE, id="what was not sent says nothing"),
        pytest.param(Health(), LIMITED, _paused(2, "rate_limited", Health(limited_since=minute(1))), id="limited"),
        pytest.param(
            Health(limited_since=TEN),
            LIMITED,
            _paused(2, "rate_limited", Health(limited_since=TEN)),
            id="limited again",
        ),
        pytest.param(Health(limited_since=TEN), None, Health(), id="limited no more"),
        pytest.param(TWICE, ClientIdRefused("no"), _paused(6, "client_id", Health()), id="our client id"),
        pytest.param(
            _paused(9, "rate_limited", Health()),
            None,
            _paused(9, "rate_limited", Health()),
            id="a pause is not cut short",
        ),
    ],
)
def test_three_failures_to_reach_a_partner_in_a_row_pause_it(
    health: Health, error: BaseException | None, after: Health
) -> None:
    """A server that is down is probed ever more rarely, and any answer ends that."""
    assert _after(health, error) == after
