"""An embedded installation at a terminal: every command is a process of its own."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwclient.simulator import SimulatorServer, StateDocument
from tests.support.commands import run
from worker.cli import sample

KEY = "Demo4PrivateKey"
PUSH = ("push", "--partner", "msp-1", "--period", "2026-11", "--counts", sample.COUNTS)


@dataclass(frozen=True)
class Installation:
    """A folder with settings and a SQLite file, and a simulated ConnectWise beside it."""

    folder: Path
    settings: dict[str, str]
    simulator: SimulatorServer
    seen_before: int = 0

    def copied(self, folder: Path) -> "Installation":
        """The same in another folder, with the records of ConnectWise set back."""
        shutil.copyfile(self.folder / "store.db", folder / "store.db")
        self.simulator.state.merge(StateDocument.model_validate_json(sample.SIMULATOR_STATE.read_bytes()))
        return Installation(folder, self.settings, self.simulator, len(self.simulator.log))

    def run(self, *arguments: str | Path, typed: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return run(*arguments, folder=self.folder, settings=self.settings, typed=typed)

    def json(self, *arguments: str | Path) -> Any:
        """The one JSON document that a command prints to standard output."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def connect(self, typed: str) -> "subprocess.CompletedProcess[str]":
        """Connect partner msp-1 with the private key that is typed."""
        options = ("--site", self.simulator.url, "--company-identifier", "harbourit", "--public-key", "Demo4PublicKey")
        return self.run(
            "connection", "set", "--partner", "msp-1", *options, "--ca-file", str(self.simulator.ca_file), typed=typed
        )

    @property
    def writes(self) -> int:
        """The number of PATCH requests that ConnectWise has seen since the test began."""
        return sum(record["method"] == "PATCH" for record in self.simulator.log[self.seen_before :])
