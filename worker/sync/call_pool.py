"""The threads in which the calls of all runs wait for ConnectWise.

`call_threads` makes calls in them; `partner_pool` asks how many of these are under way because of ConnectWise alone.
"""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic


class CallPool(ThreadPoolExecutor):
    """At most so many `threads`."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="call")
        self._answered_at: dict[object, float] = {}

    def begin(self, call: object, seconds: float) -> None:
        """Note that a call begins to which its ConnectWise alone takes so many seconds; infinite = not known."""
        self._answered_at[call] = monotonic() + seconds

    def end(self, call: object) -> None:
        """Note that the call has ended."""
        del self._answered_at[call]

    def waiting(self) -> int:
        """Return the number of calls that ConnectWise cannot have answered yet."""
        now = monotonic()
        return sum(at > now for at in list(self._answered_at.values()))
