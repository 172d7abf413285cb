"""What a server process asks of its allocator and its garbage collector: what it does stays the same, only what it holds and
spends does not."""

import ctypes
import gc

ARENAS_MAX = 2
"""Pools from which threads take memory: with one for each of a dozen threads, what a bundle needed stays with many of them."""
MAPPED_BYTES_MIN = 262_144
"""Pieces of this size (bundles, pages) go back to the system when they are done with."""
GARBAGE_THRESHOLDS = (10_000, 20, 20)
"""A bundle of 500 ops makes some ten thousand objects, and hardly a circle among them."""

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3
"""`mallopt` of glibc, malloc.h."""


def bound_memory() -> None:
    """Before the first thread. Where the C library is another one, nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, ARENAS_MAX)
        mallopt(_MMAP_THRESHOLD, MAPPED_BYTES_MIN)


def settle() -> None:
    """Once everything stands: what stands now stays, and the search for garbage need not walk all programs and kinds again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
