"""The shape of a contestant: processes that take lines from RabbitMQ, set quantities in ConnectWise, and answer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tests.benchmarks.results_queue import ResultsQueue
from tests.benchmarks.scenario import Line
from tests.benchmarks.stored_results import StoredResults


class Contestant(ABC):
    """Its queues and its database stay from round to round; its processes are started for each."""

    name: str
    results: ResultsQueue | StoredResults

    @abstractmethod
    def start(self) -> list[int]:
        """Start its processes, and return their ids."""

    @abstractmethod
    def send(self, lines: Sequence[Line]) -> None:
        """Publish lines, and expect their answers in `results`. Lines of a partner come one after another."""

    @abstractmethod
    def rest(self) -> None:
        """Return when it has nothing more to do, and may make as many requests as at its start."""

    @abstractmethod
    def stop(self) -> None:
        """End its processes."""
