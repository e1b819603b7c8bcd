"""`python -m worker.rules.problems_docs`: docs/problems.md, the catalogue of problems as a table (`make docs`)."""

import re
import sys

from worker.rules.problems import CATALOGUE, ProblemKind

_WHO = {
    "billing_coordinator": "billing coordinator",
    "connectwise_administrator": "ConnectWise administrator",
    "phin_support": "Phin support",
    "nobody": "nobody has to",
}

_HEAD = """\
# Problems

The `problem` of a result says why a connection, a mapping or a push cannot go on, as `messages.Problem`. Codes are
stable. Text in *italics* is filled in. ConnectWise's own words, if it said any, come beside it as `said`, and
`link` leads to the record. Written by `make docs` from `worker/rules/problems`.

| Code | What happened | What to do | Where in ConnectWise | Who can |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the text of docs/problems.md."""
    return _HEAD + "".join(map(_row, CATALOGUE.values()))


def _row(kind: ProblemKind) -> str:
    detail = re.sub(r"{(\w+)}", r"*\1*", kind.detail)
    cells = (f"`{kind.code}`", f"**{kind.title}.** {detail}", kind.fix, kind.where or "", _WHO[kind.who])
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
