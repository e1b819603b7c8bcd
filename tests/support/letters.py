"""Dead letters of a World: what is kept, and the commands about it."""

import subprocess
from dataclasses import dataclass

from store import dead_letter_queries, replays
from store.dead_letter_queries import DeadLetterFilter, StoredDeadLetter
from tests.support.waiting import wait_for
from tests.support.world import World


@dataclass
class Letters:
    """The dead letters of a World."""

    world: World

    def all(self) -> list[StoredDeadLetter]:
        """All of them, oldest first."""
        with self.world.database.begin() as tx:
            return dead_letter_queries.get_many(tx, dead_letter_queries.ids(tx, DeadLetterFilter()))

    def wait(self, count: int = 1) -> list[StoredDeadLetter]:
        """Wait until so many are there."""
        return wait_for(lambda: found if len(found := self.all()) >= count else None, f"{count} dead letters") or []

    def replay_all(self) -> int:
        """Replay what is open, as the command does but without a worker; how many."""
        open_ = [letter.id for letter in self.all() if letter.state == "open"]
        for letter_id in open_:
            with self.world.database.begin() as tx:
                replays.replay(tx, letter_id, by="test", why=None)
        return len(open_)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`phin-connectwise dead-letters …`, run to its end in this installation."""
        return self.world.command("dead-letters", *arguments)
