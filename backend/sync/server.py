"""The sync server: one per process, between the routes, the store, the judge and those who follow the ledger."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec

from backend.audit import heads
from backend.audit.cold import Cold
from backend.auth import devices
from backend.auth.revocations import Revocations
from backend.auth.tokens import Keys, write_secret
from backend.kernel.clock import Clock, wall_clock
from backend.store import Store, Tx
from backend.store.tables import LedgerRow, MetaRow
from backend.sync import hlc, ledger
from backend.sync.events import Hub
from backend.sync.follow import Follower
from backend.sync.judge import Judge
from backend.sync.ledger import Entry
from backend.sync.op import Op
from backend.sync.pull import Puller
from backend.sync.push import open_bundle, receipt_verdicts, take_bundle
from backend.sync.rate import Rate
from backend.sync.taking import Accepted, Batch, Hook, Rules, Taking, Verdict
from backend.sync.writer import Writer

BUNDLES_PER_MINUTE = 600
"""Of one device: a queue of weeks goes up in a minute, and a phone gone mad does not drown the others."""
PREPARED_AT_ONCE_MAX = 4

log = logging.getLogger("anlu.sync")

__all__ = ["Accepted", "PushAnswer", "Sync", "Verdict"]


class PushAnswer(msgspec.Struct):
    """What a phone hears of its bundle. `now` is the server's hlc; `receipt` proves the verdicts to a server restored from before them."""

    have: int
    epoch: str
    now: int
    receipt: str
    verdicts: list[Verdict]


class Sync:
    """See `backend.sync`. Between `start` and `stop`; `store` is migrated."""

    def __init__(
        self,
        store: Store,
        judge: Judge,
        keys: Keys,
        revocations: Revocations,
        *,
        clock: Clock = wall_clock,
        on_accepted: Sequence[Hook] = (),
        on_parked: Sequence[Hook] = (),
        rate: Rate | None = None,
        cold: Cold | None = None,
    ) -> None:
        self.store = store
        self.judge = judge
        self.keys = keys
        self.revocations = revocations
        self.clock = clock
        self.cold = cold or Cold()
        self.hub = Hub()
        self.follower = Follower(store, judge, self.hub)
        self.epoch = ""
        self.device = 0
        self._hooks = list(on_accepted)
        self._parked_hooks = list(on_parked)
        self._writer = Writer(store, self._open_batch, self._done)
        self._preparing = asyncio.Semaphore(PREPARED_AT_ONCE_MAX)
        self._rate = rate or Rate(BUNDLES_PER_MINUTE)
        self._puller = Puller(store, judge)

    # Life.

    async def start(self) -> None:
        """Find out whether this database went on or was restored, and take or begin its epoch."""
        boots = self.keys.folder / "boot.json"
        boot = secrets.token_hex(16)
        # File and database are looked at and written under the writer's lock: several workers may start at once.
        async with self.store.write() as tx:
            known: list[str] = msgspec.json.decode(boots.read_bytes(), type=list[str]) if boots.exists() else []
            meta = {row["name"]: row["value"] for row in await MetaRow.select()}
            before = meta.get("boot")
            last, _ = await ledger.head(tx)
            fresh = before is None and not known and not last
            seen = heads.last(self.keys)
            went_on = before is not None and before in known and (seen is None or await _holds(seen, meta.get("epoch", "")))
            # Both ids stand beside the keys until the database has the new one: a kill between the two is no restore.
            write_secret(boots, msgspec.json.encode([*([before] if before and before in known else []), boot]))
            values = {"boot": boot}
            if not went_on:
                epoch, device = secrets.token_hex(16), await devices.register(tx, None, None, None, label="server", now=self.clock())
                values |= {"epoch": epoch, "device": str(device)}
                if "cursor" not in meta:
                    values["cursor"] = secrets.token_hex(32)
                await self._begin_epoch(tx, epoch, device, fresh, seen)
            for name, value in values.items():
                await tx.run(
                    "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
                )
            meta |= values
        async with self.store.write() as tx:
            # Another worker may have begun since: the file names the boot that the database has.
            row = await tx.one("SELECT value FROM meta WHERE name = 'boot'")
            assert row is not None
            write_secret(boots, msgspec.json.encode([row["value"]]))
        self.epoch, self.device = meta["epoch"], int(meta["device"])
        self._puller.begin(self.epoch, bytes.fromhex(meta["cursor"]))
        async with self.store.read() as tx:
            end, digest = await ledger.head(tx)
        self._write_head(end, digest)
        self.follower.start(end)
        if not went_on and not fresh:
            log.warning("the database is not the one that was last served: a new epoch begins", extra={"epoch": self.epoch})

    async def _begin_epoch(self, tx: Tx, epoch: str, device: int, fresh: bool, seen: heads.Head | None) -> None:
        now = self.clock()
        last, digest = await ledger.head(tx)
        # What was given after the backup must not be given again: the clock is past all of it.
        seq = 1 if fresh else max(last + 1, hlc.from_ms(now), seen.seq + 1 if seen else 0)
        params: dict[str, Any] = {"epoch": epoch, "device": device}
        if seen is not None:
            params["seen"] = {"epoch": seen.epoch, "seq": seen.seq, "hash": seen.hash}
        await ledger.append(tx, digest, [Entry(seq=seq, what="epoch", at=now, params=msgspec.json.encode(params).decode())])

    async def stop(self) -> None:
        """Finish what waits, end the event streams, and write the head down."""
        await self.follower.stop()
        await self._writer.stop()
        self.hub.stop()

    def now(self) -> int:
        """The server's wall clock as an hlc."""
        return hlc.from_ms(self.clock())

    # What phones do.

    async def push(self, body: bytes, signature: str, *, jose: bool = False) -> PushAnswer:
        """Take a bundle. Raises Refusal where nothing of it is taken."""
        async with self._preparing:
            opened = await asyncio.to_thread(open_bundle, body, signature, self.keys, self.clock(), jose=jose)
        self._rate.take(opened.bundle.device, self.clock())
        taken = await self._writer.do(lambda taking: take_bundle(opened, taking, self.revocations, taking.batch.now))
        now = self.clock()
        claims = {"epoch": self.epoch, "device": opened.bundle.device, "verdicts": receipt_verdicts(taken.verdicts)}
        receipt = await asyncio.to_thread(self.keys.issue_receipt, claims, now)
        return PushAnswer(taken.have, self.epoch, hlc.from_ms(now), receipt, taken.verdicts)

    def pull(self, person: str, device: int, cursor: str | None, want: Sequence[str]) -> AsyncIterator[bytes]:
        """Pages of lines for this person on this phone, as long as there is more."""
        return self._puller.pull(person, device, cursor, want, self.hub)

    async def shapes(self, person: str) -> list[str]:
        """The shapes that a person may hold now."""
        async with self.store.read() as tx:
            return await self._puller.shapes(tx, person)

    # What the server itself does.

    async def say(self, *ops: Op, tx: Tx | None = None, sealed: dict[str, tuple[bytes, str]] | None = None) -> list[Verdict]:
        """Write ops by the server's own device: `device`, `hlc` and, where it is 0, `at` are given here. With `tx`, inside that write
        transaction. `sealed` holds salt and JSON text of personal values by their `sealed_hash`."""

        async def work(taking: Taking) -> list[Verdict]:
            taking.keep_sealed(sealed or {})
            await taking.read_ahead([self.device], ops)
            return [await taking.say(op) for op in ops]

        if tx is None:
            verdicts: list[Verdict] = await self._writer.do(work)
            return verdicts
        batch = await self._open_batch(tx)
        try:
            verdicts = await batch.run(work)
            await batch.close()
        except BaseException:
            self._done(batch, False)
            raise
        tx.after(lambda: self._done(batch, True))
        return verdicts

    async def erase(self, doc: str, hashes: Sequence[str], who: str, why: str) -> None:
        """Erase personal values of a document: salt and text go, an entry says who and why, and phones get the document without them."""

        await self.do(lambda taking: taking.erase(doc, hashes, who, why))

    async def do(self, work: Callable[[Taking], Awaitable[Any]]) -> Any:
        """Work in the ledger that is no op: in a savepoint of its own, behind what waits already."""
        return await self._writer.do(work)

    async def _open_batch(self, tx: Tx) -> Batch:
        batch = Batch(tx, Rules(self.judge, self.device, self._hooks, self._parked_hooks), self.clock())
        await batch.begin()
        await self.follower.learn(tx, batch.seq)
        return batch

    def _done(self, batch: Batch, committed: bool) -> None:
        if batch.observed:
            self.judge.observe(sorted(batch.observed))
        if committed and batch.wrote:
            self.follower.wrote(batch.seq)
            self._write_head(batch.seq, batch.hash)
            self.hub.poke(batch.seq, batch.changed, batch.told)

    def _write_head(self, seq: int, digest: bytes) -> None:
        heads.write(self.keys, heads.Head(self.epoch, seq, digest.hex()), self.clock())


async def _holds(seen: heads.Head, epoch: str) -> bool:
    """Whether the ledger has the entry whose hash was last written beside the keys."""
    row = await LedgerRow.select(LedgerRow.hash).where(LedgerRow.seq == seen.seq).first()
    return row is not None and row["hash"].hex() == seen.hash and seen.epoch == epoch
