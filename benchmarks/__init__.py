"""Our client beside every peer, in one run: `python -m benchmarks`."""
