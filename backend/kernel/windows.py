"""How often something may be done in a stretch of time. In memory: after a restart everybody begins anew."""

from collections import deque

KEYS_MAX = 50_000


class Window:
    """At most `most` times in any `minutes` minutes for each key."""

    def __init__(self, most: int, minutes: int) -> None:
        self._most = most
        self._length_ms = minutes * 60_000
        self._held: dict[str, deque[int]] = {}

    def wait_seconds(self, key: str, now: int) -> int:
        """0 where there is room at `now` (Unix ms), else the seconds until there is. Counts nothing."""
        held = self._held.get(key)
        while held and held[0] <= now - self._length_ms:
            held.popleft()
        if held is None or len(held) < self._most:
            return 0
        return max(1, -(-(held[0] + self._length_ms - now) // 1000))

    def take(self, key: str, now: int) -> None:
        """Count one."""
        held = self._held.pop(key, None) or deque(maxlen=self._most)
        if len(self._held) >= KEYS_MAX:
            # The one that has been quiet longest.
            del self._held[next(iter(self._held))]
        held.append(now)
        self._held[key] = held
