"""Our client beside raw aiohttp, in one run: `python -m benchmarks`."""
