"""A billing coordinator at a terminal: every command is a process of its own, a worker elsewhere does the work."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwclient.simulator import StateDocument
from tests.support.commands import run
from tests.support.world import PRIVATE_KEY, World
from worker.cli import sample
from worker.setting_names import PREFIX
from worker.spreadsheet import read_counts


@dataclass(frozen=True)
class Coordinator:
    """Of one partner, whose ConnectWise has the sample's records; files go to `folder`. Nothing is connected yet."""

    world: World
    partner: str
    folder: Path

    def __post_init__(self) -> None:
        document = json.loads(sample.SIMULATOR_STATE.read_text("utf-8"))["tenants"][0]
        self.change(**{kind: document[kind] for kind in ("companies", "agreements", "additions")})
        self.set_rights()

    # --- in ConnectWise, by hand

    @property
    def tenant(self) -> str:
        """The company identifier of the partner's ConnectWise."""
        return f"cw-{self.partner}"

    def change(self, **parts: Any) -> None:
        """Add or replace records, or keys."""
        tenant = {"company_identifier": self.tenant, **parts}
        self.world.simulator.state.merge(StateDocument.model_validate({"tenants": [tenant]}))

    def set_rights(self, **rights: str) -> None:
        """Change the security role of the API member; without arguments it has all rights."""
        self.change(keys=[{"public": "public", "private": PRIVATE_KEY, "rights": rights}])

    def quantity(self, addition_id: int) -> float | None:
        """The quantity that the addition holds."""
        return self.world.simulator.state.quantity(self.tenant, addition_id)

    def writes(self) -> list[dict[str, Any]]:
        """The PATCH requests that were applied, oldest first."""
        return self.world.writes(self.partner)

    # --- at the terminal

    def run(self, *command: str | Path, code: int = 0, typed: str = "", to: str = "stdout") -> str:
        """Run a command of this partner, which is to end with this code; what it printed, or said on `stderr`."""
        given = {
            name.removeprefix(PREFIX): value
            for name, value in self.world.environment.items()
            if name.startswith(PREFIX)
        }
        done = run(*command, "--partner", self.partner, folder=self.folder, settings=given, typed=typed)
        assert done.returncode == code, done.stdout + done.stderr
        return str(getattr(done, to))

    def told(self, *command: str | Path, code: int = 0) -> Any:
        """The one JSON document that a command prints."""
        return json.loads(self.run(*command, "--json", code=code))

    def connect(self, code: int = 0) -> str:
        """Connect ConnectWise; what is printed."""
        assert self.world.simulator.ca_file is not None
        site = ("--site", self.world.simulator.url, "--ca-file", self.world.simulator.ca_file)
        return self.run(
            "connection",
            "set",
            *site,
            "--company-identifier",
            self.tenant,
            "--public-key",
            "public",
            code=code,
            typed=f"{PRIVATE_KEY}\n",
        )

    def file(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path

    def counts(self, users: Mapping[str, int]) -> Path:
        """A file of counts for these companies of the sample."""
        names = {line.company_id: line.company_name for line in read_counts(sample.COUNTS)}
        rows = [f'{company},"{names[company]}",{count}' for company, count in users.items()]
        return self.file("counts.csv", "\n".join(["company_id,company_name,billable_users", *rows]))

    def push(self, users: Mapping[str, int], *options: str, code: int = 0) -> Any:
        """Push these users for a month; the JSON document of it."""
        return self.told("push", "--period", "2026-11", "--counts", self.counts(users), *options, code=code)
