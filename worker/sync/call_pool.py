"""The threads in which the calls of all runs wait for ConnectWise.

`call_threads` makes calls in them; `partner_pool` asks how many of these are under way because of ConnectWise alone.
"""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic


class CallPool(ThreadPoolExecutor):
    """A pool of at most so many `threads`, which knows how many calls it is ConnectWise alone that keeps under way."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="call")
        self._earliest_answer: dict[object, float] = {}

    def begin(self, call: object, seconds: float) -> None:
        """Note that a call begins to which its ConnectWise alone takes so many seconds; infinite = not known."""
        self._earliest_answer[call] = monotonic() + seconds

    def end(self, call: object) -> None:
        """Note that the call has ended."""
        del self._earliest_answer[call]

    def waiting(self) -> int:
        """Return the number of calls that ConnectWise cannot have answered yet; those of unknown length count, too."""
        now = monotonic()
        return sum(at > now for at in list(self._earliest_answer.values()))
