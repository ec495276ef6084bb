"""Blender without the threads that it starts for the other cores: each spins while it has nothing to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imported_on_one_core() -> Iterator[None]:
    """Import bpy within. Its task library (TBB) counts the cores once, when it is loaded, and keeps a thread for each.

    Cycles' own `threads` leaves those alone, so a process that renders on one thread costs as much as two. Nothing is
    pinned afterwards. Systems that can't say which cores a process may use pay the price.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
