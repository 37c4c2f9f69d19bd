"""The client on one core, the server on another, so that neither takes time from the other."""

import contextlib
import os
import resource
from collections.abc import Iterator


class Cores:
    """Which core each side runs on; None where this machine has only one, or cannot be told."""

    def __init__(self) -> None:
        free = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.client = free[0] if len(free) > 1 else None
        self.server = free[-1] if len(free) > 1 else None

    def pin_client(self) -> None:
        """Keep this thread, and every thread and process that it starts from now on, on the client's core."""
        if self.client is not None:
            os.sched_setaffinity(0, {self.client})

    @contextlib.contextmanager
    def for_server(self) -> Iterator[None]:
        """Processes started within the block run on the server's core."""
        if self.server is None:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.server})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def raise_file_limit() -> int:
    """Allow as many open files as this process may have; returns how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS allows fewer than the limit that it tells
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return file_limit()


def file_limit() -> int:
    """Return how many files this process may have open, a million if there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft
