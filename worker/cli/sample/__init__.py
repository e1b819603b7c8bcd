"""A sample of 25 companies: a simulated ConnectWise, their mappings and their billable users."""

from importlib import resources
from pathlib import Path

_FILES = Path(str(resources.files(__name__)))

SIMULATOR_STATE = _FILES / "connectwise.json"
MAPPINGS = _FILES / "mappings.csv"
COUNTS = _FILES / "counts.csv"
