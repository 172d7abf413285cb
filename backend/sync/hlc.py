"""Hybrid logical clock: one integer that orders fields. Twin of pwa/src/sync/hlc.ts. Pure: the time is an argument.

`(milliseconds since 2024-01-01T00:00:00Z) * 4096 + counter`, below 2^53, so that a JavaScript number holds it exactly. It lasts until 2093.
"""

EPOCH_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z in Unix milliseconds."""

TICKS_PER_MS = 4096
HLC_MAX = 2**53 - 1

AT_MAX = EPOCH_MS + HLC_MAX // TICKS_PER_MS
"""The last Unix millisecond that an hlc can name."""

CLOCK_AHEAD_MS_MAX = 300_000
"""A claim further ahead of the server's wall clock than this is not believed."""


def from_ms(ms: int) -> int:
    """The first hlc of a Unix millisecond; times outside the range give its nearest end."""
    return (min(max(ms, EPOCH_MS), AT_MAX) - EPOCH_MS) * TICKS_PER_MS


def to_ms(hlc: int) -> int:
    """The Unix millisecond of an hlc; its counter is dropped."""
    return hlc // TICKS_PER_MS + EPOCH_MS


def make(last: int, now_ms: int) -> int:
    """The hlc of a new op on a device whose latest was `last`: above it, whatever the clock does."""
    return max(from_ms(now_ms), last + 1)


def see(last: int, seen: int) -> int:
    """What a device remembers as its latest after meeting another's."""
    return max(last, seen)


def effective(claimed: int, previous: int, now_ms: int) -> tuple[int, bool]:
    """The hlc that counts, and whether the claim was not believed.

    `previous` is the effective hlc of the device's op before this one, 0 if there is none; `now_ms` the server's wall clock.
    The result is always above `previous`, so that what one device says later wins over what it said earlier.
    """
    suspect = to_ms(claimed) - now_ms > CLOCK_AHEAD_MS_MAX
    return max(from_ms(now_ms) if suspect else claimed, previous + 1), suspect
