"""A simulated ConnectWise Manage for demo and tests: a web server that behaves as connectwise-api.md says.

Start it as a process with `python -m cwclient.simulator --state state.json`, or in a test with `SimulatorServer`. The
shape of the state is in `document.py`, faults are in `faults.py`, the control routes in `control.py`.
"""

from cwclient.simulator import faults
from cwclient.simulator.document import StateDocument
from cwclient.simulator.faults import Fault, Faults
from cwclient.simulator.requestlog import RequestRecord
from cwclient.simulator.server import Options, SimulatorServer, run
from cwclient.simulator.state import State

__all__ = [
    "Fault",
    "Faults",
    "Options",
    "RequestRecord",
    "SimulatorServer",
    "State",
    "StateDocument",
    "faults",
    "run",
]
