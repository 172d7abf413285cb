"""What sync asks of whoever knows the kinds. Sync never imports the flow: the app hands it a `Judge`.

A judge is pure but for the documents it reads through `Docs`; given the same op, documents and time it answers the same.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from backend.sync.op import Act, Op

Body = dict[str, Any]
"""`{"version", "status", "fields": {f: [value, e, device]}, "sets": {s: {id: [item, e, device]}}}`: in memory, in the store, on the wire
and on the phone."""


class Document(msgspec.Struct):
    """A document as it is now. `author` and `created_at` (Unix ms) are those of its `new`."""

    key: str
    seq: int
    body: Body
    author: str
    created_at: int

    @property
    def kind(self) -> str:
        return self.key.partition("/")[0]


class Spawn(msgspec.Struct):
    """A document that an op brings about: `kind/` + the id derived from the op and `name`, under this version of its kind."""

    name: str
    kind: str
    fields: dict[str, Any]
    version: int = 1


class FollowAct(msgspec.Struct):
    """A transition of another document that an op brings about, said by the server's own device."""

    name: str
    doc: str
    transition: str
    input: dict[str, Any]


class Tell(msgspec.Struct):
    """Somebody is to hear of this: a person id or a shape, and what (a text key of the kind)."""

    who: str
    what: str
    params: dict[str, Any]


class Change(msgspec.Struct):
    """What an accepted op does. `fields` and `items` are plain values: sync gives them their clocks."""

    status: str | None = None
    fields: dict[str, Any] = {}
    items: dict[str, dict[str, Any]] = {}
    spawns: list[Spawn] = []
    acts: list[FollowAct] = []
    tells: list[Tell] = []
    media: list[str] = []


class Refused(msgspec.Struct):
    """The op is in the ledger and does nothing; the worker sees why."""

    code: str
    params: dict[str, Any] = {}


class Parked(msgspec.Struct):
    """The op waits for what is not here yet, or for a supervisor."""

    code: str
    params: dict[str, Any] = {}


Outcome = Change | Refused | Parked


class StopFacts(msgspec.Struct):
    """The stops of the document above the op's `base` that its author did not say earlier in the same device's queue, by seq."""

    unseen: Sequence[int] = ()


class Lost(msgspec.Struct):
    """Numbers of a phone's queue, both ends included, that it no longer holds. `person`: who registered it; `phone`: how it is called."""

    device: int
    first: int
    last: int
    at: int
    person: str | None = None
    phone: str = ""


class NotStarted(msgspec.Struct):
    """An act that was refused with this code while stops stood that its author had not seen: the work may have happened. `at`: Unix ms."""

    op: Act
    code: str
    at: int


class Docs(Protocol):
    """Reads documents inside the running transaction; sees what it has written. `began`: as `Tx.began`."""

    @property
    def began(self) -> int: ...
    async def get(self, key: str) -> Document | None: ...
    async def get_many(self, keys: Sequence[str]) -> dict[str, Document]: ...
    async def all(self, kind: str) -> list[Document]: ...


class Judge(Protocol):
    """Knows the kinds. Default deny: what no kind allows is refused."""

    async def judge(self, op: Op, op_id: str, doc: Document | None, docs: Docs, *, at: int, author: str, stops: StopFacts) -> Outcome:
        """Decide on one op against the document as it is. `at` is the op's time, Unix ms, at most its arrival."""
        ...

    def uses(self, op: Op, doc: Document | None) -> list[str]:
        """Keys of the documents that judging this op will read, so that a bundle fetches them at once."""
        ...

    async def placement(self, docs: Docs, key: str, body: Body) -> list[str]:
        """The shapes that hold this document now."""
        ...

    async def shapes(self, docs: Docs, person: str) -> list[str]:
        """The shapes that this person may hold now; none for a person who is not active."""
        ...

    async def opens(self, docs: Docs, person: str, key: str, body: Body) -> set[str]:
        """Names of the personal fields of this document whose sealed values this person may read."""
        ...

    async def reads(self, docs: Docs, person: str) -> dict[str, str]:
        """A short word for each right on which `opens` hangs, and on what this person holds it: where one is another than it was, the
        phone holds values that were opened, or kept shut, under a right that has changed."""
        ...

    def is_stop(self, op: Op, doc: Document | None) -> bool:
        """Whether its document's kind says that this op stops something: a transition, or an item of a set. It counts whoever said it."""
        ...

    async def notices(self, docs: Docs, event: Lost | NotStarted) -> list[Spawn]:
        """The documents by which somebody hears of this. Sync names them after the cause, so that one cause tells once."""
        ...

    def observe(self, keys: Sequence[str]) -> None:
        """These documents have changed and are committed: drop what was cached of them."""
        ...
