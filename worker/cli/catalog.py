"""`catalog`: list what ConnectWise offers in each drop-down: companies, their agreements, and their additions."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from messages import CatalogKind, CatalogListed, CatalogRequested, Choice
from store import Tx, catalog
from worker.cli.commands import Commands
from worker.cli.display import causes
from worker.cli.display.causes import of_problem
from worker.cli.display.output import dump, mark, plural, safe, say, table
from worker.cli.display.wording import title
from worker.cli.exits import UNFINISHED
from worker.cli.known_partner import require_known_partner
from worker.cli.options import AsJson, Partner, Timeout, usage
from worker.cli.session import Session, WorkProgress, session, still_running
from worker.spreadsheet import MAX_CW_ID

commands = Commands(no_args_is_help=True)

ONE = {"companies": "company", "agreements": "agreement", "additions": "addition"}

Search = Annotated[str | None, typer.Option(metavar="TEXT", help="Only those with this in name or identifier.")]
Page = Annotated[int, typer.Option(min=1, metavar="N", help="Which hundred of them.")]
Refresh = Annotated[bool, typer.Option("--refresh", help="Ask ConnectWise, whatever was read some minutes ago.")]


def _id(option: str, what: str) -> Any:  # noqa: ANN401 - typer's OptionInfo
    return typer.Option(option, min=1, max=MAX_CW_ID, metavar="ID", help=f"Id of the {what} in ConnectWise.")


@commands.command()
def companies(
    partner: Partner,
    *,
    search: Search = None,
    page: Page = 1,
    refresh: Refresh = False,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """List the companies in ConnectWise by name, without the deleted ones. Exit code 1 if they cannot be read.

    Example: phin-connectwise catalog companies --partner msp-1 --search dental
    """
    _list(partner, "companies", {"search": search, "page": page, "refresh": refresh}, timeout, as_json=as_json)


@commands.command()
def agreements(
    partner: Partner,
    company: Annotated[int, _id("--cw-company", "company")],
    *,
    search: Search = None,
    page: Page = 1,
    refresh: Refresh = False,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """List the agreements of a company, and whether they can be billed now. Exit code 1 if they cannot be read."""
    asked = {"cw_company_id": company, "search": search, "page": page, "refresh": refresh}
    _list(partner, "agreements", asked, timeout, as_json=as_json)


@commands.command()
def additions(
    partner: Partner,
    agreement: Annotated[int, _id("--agreement", "agreement")],
    *,
    search: Search = None,
    page: Page = 1,
    refresh: Refresh = False,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """List the additions of an agreement, and whether they can be billed now. Exit code 1 if they cannot be read."""
    asked = {"agreement_id": agreement, "search": search, "page": page, "refresh": refresh}
    _list(partner, "additions", asked, timeout, as_json=as_json)


def ask(opened: Session, events: Sequence[CatalogRequested], *, what: str, timeout: float) -> list[CatalogListed]:
    """Send catalog questions of one partner and return the answers; fewer if the timeout ends."""
    partner_id, ids = events[0].partner_id, [str(event.id) for event in events]

    def progress(tx: Tx) -> WorkProgress:
        arrived, answered = catalog.count_answered(tx, partner_id, ids)
        return WorkProgress(done=answered, total=len(ids), accepted=bool(arrived), finished=answered == len(ids))

    opened.carry_out(events, progress, what=what, timeout=timeout, wait=True, unit="question")
    with opened.database.begin() as tx:
        asked = [catalog.find(tx, partner_id, message_id) for message_id in ids]
    answers = [question.answer for question in asked if question is not None and question.answer is not None]
    return [CatalogListed.model_validate_json(answer, extra="ignore") for answer in answers]


def explain(listed: CatalogListed) -> None:
    """Print the problem for which there are no choices, and its fix."""
    if listed.problem is not None:
        causes.show([of_problem("bad", "No choices", listed.problem)])


def _list(partner: str, kind: CatalogKind, fields: dict[str, Any], timeout: float, *, as_json: bool) -> None:
    with usage():
        event = CatalogRequested(partner_id=partner, correlation_id=f"catalog {kind}", kind=kind, **fields)
    with session(works=True) as opened:
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
        answers = ask(opened, [event], what=f"Reading the {kind}", timeout=timeout)
    if not answers:
        still_running(f"phin-connectwise catalog {kind} --partner {partner}")
        raise typer.Exit(UNFINISHED)
    [listed] = answers
    if as_json:
        dump(listed.model_dump(mode="json"))
    elif listed.problem is not None:
        explain(listed)
    else:
        _show(listed, is_cached=listed.fetched_at is not None and listed.fetched_at < event.time)
    raise typer.Exit(0 if listed.problem is None else UNFINISHED)


def _show(listed: CatalogListed, *, is_cached: bool) -> None:
    headers, cells = TABLES[listed.kind]
    if listed.choices:
        table(headers, [cells(choice) for choice in listed.choices], right=("Id", "Quantity", "Price"))
    if why := [of_problem("bad", choice.name, choice.problem) for choice in listed.choices if choice.problem]:
        say()
        causes.show(why, listed.kind)
        say()
    count = len(listed.choices)
    counted = plural(count, ONE[listed.kind], listed.kind)
    since = f", as of {listed.fetched_at:%H:%M:%S} UTC" if listed.fetched_at else ""
    since += "; --refresh asks ConnectWise again" if is_cached else ""
    say(f"{counted}{since}. {f'There are more: --page {listed.page + 1}' if listed.more else ''}".rstrip())


def _company(choice: Choice) -> list[Text]:
    return [Text(str(choice.id)), safe(choice.name), safe(choice.detail or "")]


def _agreement(choice: Choice) -> list[Text]:
    end = choice.cancelled_date or choice.end_date
    dates = f"{f'from {choice.start_date}' if choice.start_date else ''} {f'to {end}' if end else ''}".strip()
    return [
        Text(str(choice.id)),
        safe(choice.name),
        safe(choice.type or ""),
        safe(dates),
        _mark(choice),
        _label(choice),
    ]


def _addition(choice: Choice) -> list[Text]:
    named = f"{choice.name} ({choice.product})" if choice.product not in {None, choice.name} else choice.name
    quantity = "" if choice.quantity is None else f"{choice.quantity:,g}"
    if choice.less_included:
        quantity += f" - {choice.less_included:,g}"
    price = "" if choice.unit_price is None else f"{choice.unit_price:,.2f}"
    return [Text(str(choice.id)), safe(named), safe(quantity), safe(price), _mark(choice), _label(choice)]


def _mark(choice: Choice) -> Text:
    return mark("good" if choice.problem is None else "bad")


def _label(choice: Choice) -> Text:
    return safe(title(choice.problem) if choice.problem else "can be billed")


TABLES: dict[CatalogKind, tuple[tuple[str, ...], Callable[[Choice], list[Text]]]] = {
    "companies": (("Id", "Company", "Identifier"), _company),
    "agreements": (("Id", "Agreement", "Type", "Dates", "", "Now"), _agreement),
    "additions": (("Id", "Addition", "Quantity", "Price", "", "Now"), _addition),
}
"""The columns of the table of each kind, and the cells of a choice."""
