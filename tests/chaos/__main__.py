"""The command `python -m tests.chaos`: everything goes wrong at once, and nothing may be lost or doubled.

Servers of its own, two workers with little memory, a platform and a simulated ConnectWise; by the seed, workers are
killed, servers restarted, tables locked, requests spoiled, messages doubled and reordered. Then a checker compares what
was asked, what was told, what was written down and what ConnectWise saw. Exit code 0 = every promise held, 1 = not, 2 =
it could not run.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.chaos.run import run
from tests.chaos.scenario import Size
from tests.support.own_servers import Missing

SMALL = Size(partners=6, companies=12, seconds=60, backlog=100)


def main() -> int:
    """Run once; keep logs and data if it failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="repeat the choices of an earlier run (default: a random one)")
    parser.add_argument("--small", action="store_true", help=f"{SMALL.partners} partners in {SMALL.seconds:g} seconds")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(100_000) if given.seed is None else given.seed
    console = Console()
    console.print(f"seed {seed}")
    # So that the servers end with the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    try:
        held = run(seed, SMALL if given.small else Size(), folder, console)
    except Missing as missing:
        console.print(str(missing))
        shutil.rmtree(folder)
        return 2
    if not held:
        console.print(f"Not every promise held. Logs and data: {folder}", soft_wrap=True)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
