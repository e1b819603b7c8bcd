"""The totals below the lines of a push in words."""

from collections.abc import Iterator, Mapping

from messages import Absent, AbsentCompany
from worker.cli.display.causes import NAMED
from worker.cli.display.output import paragraph, plural, say
from worker.coordination.totals import WORDS


def say_sum(found: Mapping[str, tuple[int, int]], mode: str) -> None:
    """Print the sum of a push or a preview, its users in brackets."""
    companies, users = found["imported"]
    words = WORDS | ({"written": "to be written"} if mode == "preview" else {})
    terms = [f"{found[name][0]:,} {word} ({found[name][1]:,})" for name, word in words.items() if name in found]
    say(f"Imported {plural(companies, 'company', 'companies')} ({plural(users, 'user')}) =")
    paragraph(" + ".join(terms), indent=2)


def say_absent(where: str, missing: Absent) -> None:
    """Print how many mapped companies were absent, how many users are still billed for them, and some names."""
    if not missing.companies:
        return
    named = [f"{one.company_name} ({_billed_for(one)})" for one in missing.named[:NAMED]]
    if missing.companies > len(named):
        named.append(f"{missing.companies - len(named):,} more")
    counts = [plural(missing.companies, "company", "companies"), *_billed(missing)]
    paragraph(f"Mapped, not in {where}: {', '.join(counts)}: {', '.join(named)}")


def _billed(missing: Absent) -> Iterator[str]:
    """Say of how many companies nothing is billed, and what is known of the others."""
    if missing.not_billed:
        yield f"of these {missing.not_billed:,} not billed in ConnectWise"
    billed = missing.companies - missing.not_billed
    if billed and missing.unknown == billed:
        yield "still billed: not known"
    elif billed:
        yield f"still billed {plural(missing.quantity, 'user')}"
        if missing.unknown:
            yield f"of {missing.unknown:,} not known"


def _billed_for(one: AbsentCompany) -> str:
    if one.not_billed:
        return "not billed"
    return "?" if one.quantity is None else f"{one.quantity:,}"
