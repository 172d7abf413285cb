"""The plant's own versions of the product's check lists.

For each list there is a `checklist` document: one person proposes its items anew, another confirms, and the server says the new version of
the kind. Nothing else of a list can be changed by this: who may check, what a bad answer does and where documents lie stays the product's.
A change that cannot be used is sent back with the reason, and nothing has changed.
"""

import asyncio
import logging
from typing import Any

import msgspec

from backend.flow import lint
from backend.flow.judge import FlowJudge
from backend.flow.kind import CompiledKind, compile_kind, pack_source
from backend.flow.load import file_kinds, kind_op, say_all, server_new
from backend.kernel.errors import Text
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.store import Tx
from backend.sync.judge import Body, Document
from backend.sync.op import Act, Op
from backend.sync.server import Accepted, Sync
from backend.sync.shapes import TxDocs

KIND = "checklist"
OWN_VERSIONS = 1_000
"""The plant's first own version is this and one; below stand those that come with the product."""

log = logging.getLogger("anlu.equipment")


class CannotBeUsed(ValueError):
    """Proposed items make no sound check list. `text` says why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


class Checklists:
    """Hand `on_accepted` to sync, call `start` once, then let `run` run until it is cancelled."""

    def __init__(self, judge: FlowJudge) -> None:
        self._judge = judge
        self._confirmed = asyncio.Event()

    async def on_accepted(self, tx: Tx, accepted: list[Accepted]) -> None:
        """Wake up where a change was confirmed. Inside the transaction."""
        if any(one.key.startswith(f"{KIND}/") and isinstance(one.op, Act) and one.op.transition == "confirm" for one in accepted):
            tx.after(self._confirmed.set)

    async def start(self, sync: Sync) -> None:
        """Begin the documents of lists that have none, and say the versions that a stop came before."""
        async with sync.store.read() as tx:
            held = {doc.key for doc in await TxDocs(tx).all(KIND)}
        for kind in file_kinds():
            if kind.kind.items and document(kind.name) not in held:
                title = msgspec.to_builtins(kind.kind.title)
                await say_all(sync, [server_new(document(kind.name), 1, {"list": kind.name, "title": title})])
        await self.settle(sync)

    async def run(self, sync: Sync) -> None:
        """Say new versions as they are confirmed, until cancelled."""
        while True:
            await self._confirmed.wait()
            self._confirmed.clear()
            try:
                await self.settle(sync)
            except Exception:
                log.exception("a check list's new version could not be said")

    async def settle(self, sync: Sync) -> None:
        """Say every version that is confirmed and not there yet; a version that cannot be used is sent back."""
        async with sync.store.read() as tx:
            lists = await TxDocs(tx).all(KIND)
        for doc in lists:
            if _value(doc.body, "number") and self._judge.kind(_value(doc.body, "list"), own_version(doc.body)) is None:
                await say_all(sync, [self._step(doc)])

    def _step(self, doc: Document) -> Op:
        try:
            kind = changed(self._judge, doc.body)
        except CannotBeUsed as wrong:
            answer = f"{wrong.text.zh} {wrong.text.en}"[:500]
            return Act(0, 0, 0, SERVER_AUTHOR, doc.key, "fail", {"answer": answer}, 0)
        return kind_op(kind)


def document(name: str) -> str:
    """The key of the `checklist` document of a check kind."""
    return f"{KIND}/{derived(f'checklist:{name}')}"


def own_version(body: Body) -> int:
    """The version of the kind that a `checklist` document's last confirmed change makes."""
    return OWN_VERSIONS + int(_value(body, "number"))


def changed(judge: FlowJudge, body: Body) -> CompiledKind:
    """The kind with the confirmed items. Raises CannotBeUsed."""
    base = judge.kind(_value(body, "list"), int(_value(body, "of_version")))
    if base is None:
        raise CannotBeUsed(Text("这次修改所依据的版本不存在。", "The version that this change starts from is not there."))
    try:
        items = msgspec.json.decode(f"{_value(body, 'items')}{_value(body, 'items_2') or ''}")
        kind = compile_kind({**msgspec.to_builtins(base.kind), "items": items, "version": own_version(body)})
        pack_source(kind.kind)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError, AttributeError, TypeError) as error:
        raise CannotBeUsed(Text(f"项目的写法不对：{error}。", f"The items are not well formed: {error}.")) from error
    if not kind.kind.items:
        raise CannotBeUsed(Text("检查表不能没有项目。", "A check list has items."))
    known = {one.name: one for one in sorted(judge.kinds(), key=lambda one: one.kind.version)}
    for problem in lint.check_kind(kind, known | {kind.name: kind}):
        raise CannotBeUsed(Text(f"{problem.where} 有问题：{problem.what}。", f"{problem.where}: {problem.what}."))
    return kind


def _value(body: Body, name: str) -> Any:
    entry = body["fields"].get(name)
    return entry[0] if entry else None
