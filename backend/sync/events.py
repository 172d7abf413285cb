"""Pokes: who is listening hears that something in their shapes, or a verdict of theirs, has changed. In this process:
`follow` brings what other workers commit.

event: poke          data: {} at the start of a connection, {"seq": n} at a change: pull
event: alert         data: {"seq": n, …}: an alarm's headline, at once
:                    a comment every 15 s, so that both ends know the line stands
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import msgspec

COMMENT_SECONDS = 15
CHECKED_SECONDS = 60
"""A session that ended is cut off after this time at the latest."""
LISTENERS_MAX = 10_000
ALERTS_WAITING_MAX = 64


class Listener:
    """One open connection."""

    def __init__(self, person: str, device: int, shapes: frozenset[str]) -> None:
        self.person = person
        self.device = device
        self.shapes = shapes
        self.seq = 0
        self.alerts: list[dict[str, Any]] = []
        self.woken = asyncio.Event()


class Hub:
    """Everybody who listens."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self.counted: Callable[[int], None] = lambda listening: None
        """Told how many listen, whenever that changes."""

    def join(self, person: str, device: int, shapes: Iterable[str]) -> Listener:
        """Begin to listen; leave with `leave`."""
        listener = Listener(person, device, frozenset(shapes))
        self._listeners.add(listener)
        self.counted(len(self._listeners))
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        self.counted(len(self._listeners))

    def __len__(self) -> int:
        return len(self._listeners)

    def sees(self, person: str, device: int, shapes: Iterable[str]) -> None:
        """A pull found that this person's shapes are these now."""
        held = frozenset(shapes)
        for listener in self._listeners:
            if listener.person == person and listener.device == device:
                listener.shapes = held

    def poke(self, seq: int, shapes: set[str], queues: set[int]) -> None:
        """Something in these shapes, or a verdict in these queues, has changed up to `seq`."""
        for listener in self._listeners:
            if listener.device in queues or not shapes.isdisjoint(listener.shapes):
                listener.seq = seq
                listener.woken.set()

    def alert(self, shapes: set[str], headline: dict[str, Any]) -> None:
        """An alarm's headline for everybody who holds one of these shapes."""
        for listener in self._listeners:
            if not shapes.isdisjoint(listener.shapes) and len(listener.alerts) < ALERTS_WAITING_MAX:
                listener.alerts.append(headline)
                listener.woken.set()

    def stop(self) -> None:
        """End every connection."""
        for listener in list(self._listeners):
            self.leave(listener)
            listener.woken.set()

    async def stream(self, listener: Listener, stands: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """The bytes of the connection, until the session ends (`stands` is asked now and then) or the hub stops."""
        quiet = 0
        try:
            yield _event("poke", {})
            while listener in self._listeners:
                try:
                    # Not `wait_for`: before Python 3.12 it forgets that it was cancelled where something happens at the same moment.
                    async with asyncio.timeout(COMMENT_SECONDS):
                        await listener.woken.wait()
                except TimeoutError:
                    quiet += COMMENT_SECONDS
                    if quiet >= CHECKED_SECONDS:
                        quiet = 0
                        if not await stands():
                            return
                    yield b": \n\n"
                    continue
                listener.woken.clear()
                if listener not in self._listeners or not await stands():
                    return
                alerts, listener.alerts = listener.alerts, []
                for headline in alerts:
                    yield _event("alert", headline)
                if listener.seq:
                    seq, listener.seq = listener.seq, 0
                    yield _event("poke", {"seq": seq})
        finally:
            self.leave(listener)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
