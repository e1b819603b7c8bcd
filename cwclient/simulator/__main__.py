"""The command `python -m cwclient.simulator`."""

import argparse
import sys
from pathlib import Path

from cwclient.simulator import control, document
from cwclient.simulator.server import Options, run


def main() -> int:
    """Read the command line and serve; returns 0 after SIGINT or SIGTERM, 2 if the simulator cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m cwclient.simulator",
        description="Serve a simulated ConnectWise Manage. Prints one line of JSON when ready: url, ca_file, log.",
        epilog=f"{document.__doc__}\n{control.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--state", type=Path, required=True, help="the state document, see below")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on, 0 = a free one (default: %(default)s)")
    parser.add_argument("--log", type=Path, help="append one line of JSON per request to this file")
    parser.add_argument("--tls-dir", type=Path, help="keep the certificates here (default: a temporary folder)")
    parser.add_argument(
        "--host-name", action="append", default=[], help="a further name the certificate is good for; repeatable"
    )
    parser.add_argument("--plain", action="store_true", help="serve http instead of https")
    given = parser.parse_args()
    options = Options(
        state=given.state,
        host=given.host,
        port=given.port,
        log=given.log,
        tls_dir=given.tls_dir,
        host_names=tuple(given.host_name),
        plain=given.plain,
    )
    try:
        run(options)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"{given.state}: {control.describe(error)}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
