"""How often a device may push: a bucket that fills evenly. In memory: after a restart everybody starts with a full one."""

from backend.kernel.errors import Refusal

DEVICES_MAX = 100_000


class Rate:
    """`per_minute` pushes a device, all of them at once at most."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: dict[int, tuple[float, int]] = {}

    def take(self, device: int, now: int) -> None:
        """Count one push at `now` (Unix ms). Raises Refusal `http.rate` with the seconds until there is room."""
        left, at = self._buckets.pop(device, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + max(0, now - at) * self._per_minute / 60_000)
        if len(self._buckets) >= DEVICES_MAX:
            # The one that has been quiet longest: its bucket is as full as a new one's, or nearly.
            del self._buckets[next(iter(self._buckets))]
        self._buckets[device] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            seconds = max(1, -int(-(1 - left) * 60 // self._per_minute))
            raise Refusal("http.rate", {"Retry-After": str(seconds)}, seconds=seconds)
