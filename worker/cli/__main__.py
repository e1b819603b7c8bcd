"""`python -m worker.cli` is `phin-connectwise`."""

from worker.cli import main

main()
