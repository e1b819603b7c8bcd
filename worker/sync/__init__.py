"""One partner's due work: targets in the store, calls to ConnectWise, results."""
