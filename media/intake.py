"""Uploads that survive everything: tus 1.0.0 with creation, checksum, expiration and termination
(https://tus.io/protocols/resumable-upload).

**The offset that a phone is told is what lies synced on the disk**: bytes are written, synced, and only then counted in the database.
What a kill leaves behind the count is cut off when the upload goes on, so no byte is lost and none is doubled. A PATCH that is cut keeps
what arrived. When the last byte is here, the answer waits until the photo is checked, derived and stored; a kill in between is made good
at the next start or at the phone's next question, whichever comes first, and each step of it may be done again.

Two at once on one upload: the later one wins, the earlier one keeps what it has and ends. A phone that changed networks does not wait for
its own dead connection.

Who may upload: a signed-in person anything; anybody what an op awaits. Whoever knows an upload's address (128 random bits) may add to it:
the SHA-256 is fixed, so the bytes can only be the right ones.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from backend.kernel.clock import Clock, wall_clock
from backend.kernel.errors import Refusal
from backend.kernel.ids import SERVER_AUTHOR
from backend.store import Row, Store, Tx
from media import check, tables
from media.child import Busy, Children
from media.store import EVIDENCE, SERVED, MediaStore, Part, sync_folder

STAGING = "uploads"
"""The folder of uploads on their way, within that of the photos."""
UPLOAD_HOURS_MAX = 72
OPEN_UPLOADS_MAX = 5_000
OPEN_UPLOADS_OF_ONE_PHOTO_MAX = 8
DISK_FREE_BYTES_MIN = 300_000_000
"""Below it photos wait on the phones, so that ops still find room. An upload that is on its way waits too."""
IDLE_SECONDS_MAX = 60
SYNC_BYTES = 1024 * 1024
"""In a long PATCH the count moves at least this often."""
WRITE_BYTES = 256 * 1024
SWEEP_MINUTES = 10
RETRY_SECONDS = 5
CHECKSUMS = ("sha256", "sha1")
HOUR_MS = 3_600_000

MayRead = Callable[[Tx, str, list[str]], Awaitable[bool]]
"""May this person (id) read at least one of these documents (keys), as they stand in this transaction?"""

log = structlog.get_logger("media")


class Upload(msgspec.Struct, frozen=True):
    """An upload as it is now. `ends_at`: Unix ms, when it is forgotten. `state`: open, done, refused (then `code` says why)."""

    id: str
    sha256: str
    type: str
    length: int
    have: int
    state: str
    code: str | None
    ends_at: int


class _Turn(msgspec.Struct):
    """Whose turn it is on one upload. `asked`: somebody else wants it."""

    lock: asyncio.Lock
    asked: asyncio.Event
    wanted: int = 0


class Media:
    """Intake and shelf. `staging`: the folder of uploads on their way, on a disk of this machine. `caller` gives the signed-in Principal of
    a request or raises Refusal."""

    def __init__(
        self,
        store: Store,
        shelf: MediaStore,
        *,
        may_read: MayRead,
        caller: Callable[[Any], Awaitable[Any]],
        staging: Path,
        clock: Clock = wall_clock,
        children: Children | None = None,
        free_bytes_min: int = DISK_FREE_BYTES_MIN,
    ) -> None:
        self.store = store
        self.shelf = shelf
        self.staging = staging
        self.may_read = may_read
        self.caller = caller
        self.clock = clock
        self.children = children or Children()
        self.free_bytes_min = free_bytes_min
        self._turns: dict[str, _Turn] = {}
        self._swept_at = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Clear what no open upload owns, and finish in the background what a kill cut off."""
        await self.shelf.ready()
        await asyncio.to_thread(self.staging.mkdir, parents=True, exist_ok=True)
        # The folder first: another worker may begin an upload now, and its row is there before its file.
        entries = await asyncio.to_thread(lambda: list(self.staging.iterdir()))
        async with self.store.read() as tx:
            known = {row["id"] for row in await tx.all("SELECT id FROM upload WHERE state = 'open'")}
            whole = [row["id"] for row in await tx.all("SELECT id FROM upload WHERE state = 'open' AND have = length")]
        for entry in entries:
            if entry.stem not in known:
                await asyncio.to_thread(_remove, entry)
        if whole:
            task = asyncio.create_task(self._finish_all(whole))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the child processes and what runs in the background."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.children.close()

    async def on_accepted(self, tx: Tx, accepted: Any) -> None:
        """Sync's hook: in the transaction of a push, note which documents name which photos.

        Whoever knows a photo's SHA-256 can name it in a document of their own, so naming one that is here gives nobody the right to it
        but who has it already. What the server says after an op has no more right than that op.
        """
        withheld: set[str] = set()
        for entry in accepted:
            server = entry.author == SERVER_AUTHOR
            if not server:
                withheld.clear()
            for sha256 in entry.change.media if entry.change else ():
                if sha256 in withheld:
                    continue
                if server or await self._may_name(tx, sha256, entry):
                    await tables.name(tx, [(sha256, entry.key)])
                else:
                    withheld.add(sha256)
                    log.info("media.named_without_right", doc=entry.key)

    async def _may_name(self, tx: Tx, sha256: str, entry: Any) -> bool:
        """Whether a reference by this op's author is one that others may read by: the bytes are still to come, or he can read them now, or
        he brought them."""
        stands = await tables.state(tx, sha256)
        if stands is None or stands[0] != "stored":
            return True
        if not entry.proven or not entry.author:
            return False
        if await tables.brought(tx, sha256, entry.author):
            return True
        documents = await tables.documents(tx, sha256)
        return bool(documents) and await self.may_read(tx, entry.author, documents)

    async def create(self, sha256: str, media_type: str, length: int, person: str | None) -> Upload:
        """Begin an upload. Raises Refusal: unfit before a byte is sent, already here, not awaited by anybody, or no room."""
        if media_type not in check.TYPES:
            raise Refusal("media.type", type=media_type[:64])
        if length > check.BYTES_MAX:
            raise Refusal("media.too_large", limit_mb=check.BYTES_MAX // 1024 // 1024)
        if length < 1:
            raise Refusal("media.not_an_image")
        await self._sweep()
        await self._room(length)
        now = self.clock()
        made = Upload(secrets.token_hex(16), sha256, media_type, length, 0, "open", None, now + UPLOAD_HOURS_MAX * HOUR_MS)
        async with self.store.write() as tx:
            stands = await tables.state(tx, sha256)
            if stands is not None and stands[0] == "stored":
                raise Refusal("media.already_here")
            if person is None and not await tables.awaited(tx, sha256):
                raise Refusal("media.not_awaited")
            open_now = await tx.one(
                "SELECT count(*) AS n, coalesce(sum(CASE WHEN sha256 = $1 THEN 1 ELSE 0 END), 0) AS same FROM upload WHERE state = 'open'",
                sha256,
            )
            if open_now is not None and (open_now["n"] >= OPEN_UPLOADS_MAX or open_now["same"] >= OPEN_UPLOADS_OF_ONE_PHOTO_MAX):
                raise Refusal("media.too_many_uploads", headers={"Retry-After": "60"})
            await tx.run(
                "INSERT INTO upload (id, sha256, type, length, have, state, person, made_at, ends_at) "
                "VALUES ($1, $2, $3, $4, 0, 'open', $5, $6, $7)",
                made.id,
                sha256,
                media_type,
                length,
                person,
                now,
                made.ends_at,
            )
        return made

    async def has_room(self) -> bool:
        """Whether photos are taken now."""
        return await asyncio.to_thread(_free_bytes, self.staging) >= self.free_bytes_min

    async def _room(self, length: int) -> None:
        if await asyncio.to_thread(_free_bytes, self.staging) < self.free_bytes_min + length:
            raise Refusal("media.no_room", headers={"Retry-After": "600"})

    async def look(self, upload_id: str) -> Upload:
        """How far an upload is. One whose bytes are all here is finished first, so that the full offset always means: stored. Raises
        Refusal."""
        async with self._turn(upload_id):
            upload = await self._known(upload_id)
            if upload.state == "open" and upload.have == upload.length:
                upload = await self._finish(upload)
            return _fit(upload)

    async def append(
        self, upload_id: str, offset: int, body: AsyncIterator[bytes], size: int | None, checksum: tuple[str, bytes] | None
    ) -> Upload:
        """Add bytes at an offset. `size`: bytes announced, where the client said. `checksum`: algorithm and digest of this body. Raises
        Refusal."""
        async with self._turn(upload_id) as asked:
            upload = await self._known(upload_id)
            if offset != upload.have:
                raise Refusal("media.offset", headers={"Upload-Offset": str(upload.have)}, have=upload.have)
            if upload.state == "open" and upload.have < upload.length:
                await self._room(upload.length - upload.have)
                upload = await self._write(upload, body, size, checksum, asked)
            if upload.state == "open" and upload.have == upload.length:
                upload = await self._finish(upload)
            return _fit(upload)

    async def end(self, upload_id: str) -> None:
        """Give an upload up (termination). Raises Refusal where there is none."""
        async with self._turn(upload_id):
            await self._known(upload_id)
            await self._forget(upload_id)

    async def read(self, sha256: str, variant: str, person: str) -> tuple[Part, str]:
        """A served variant and its media type. Raises Refusal: 404 in every case, and nothing tells the one without the right that there
        is anything."""
        async with self.store.read() as tx:
            documents = await tables.documents(tx, sha256)
            stands = await tables.state(tx, sha256)
            may = variant in SERVED and bool(documents) and await self.may_read(tx, person, documents)
        if not may:
            raise Refusal("media.not_found")
        if stands is None:
            raise Refusal("media.on_its_way")
        if stands[0] == "refused":
            raise Refusal("media.was_refused", why=stands[1])
        try:
            part = await self.shelf.open(sha256, variant)
        except OSError as error:
            log.error("media.read_failed", error=str(error))
            raise Refusal("http.unavailable", {"Retry-After": str(RETRY_SECONDS)}, seconds=RETRY_SECONDS) from error
        if part is None:
            raise Refusal("media.on_its_way")
        return part, SERVED[variant]

    @contextlib.asynccontextmanager
    async def _turn(self, upload_id: str) -> AsyncIterator[asyncio.Event]:
        """One at a time on an upload; whoever writes is asked to end. Gives the event by which the next one asks."""
        turn = self._turns.get(upload_id)
        if turn is None:
            turn = self._turns[upload_id] = _Turn(asyncio.Lock(), asyncio.Event())
        turn.wanted += 1
        turn.asked.set()
        try:
            async with turn.lock:
                if turn.wanted == 1:
                    turn.asked.clear()
                yield turn.asked
        finally:
            turn.wanted -= 1
            if turn.wanted == 0:
                self._turns.pop(upload_id, None)

    async def _known(self, upload_id: str) -> Upload:
        """The upload with its durable count. Raises Refusal where it is unknown or over."""
        async with self.store.read() as tx:
            row = await tx.one("SELECT * FROM upload WHERE id = $1", upload_id)
        if row is None:
            raise Refusal("media.no_upload")
        upload = _upload(row)
        if self.clock() > upload.ends_at:
            await self._forget(upload_id)
            raise Refusal("media.upload_ended")
        if upload.state != "open" or upload.have == 0:
            return upload
        size = await asyncio.to_thread(_size, self._file(upload_id))
        if size < upload.have:
            # Somebody restored or cleared the folder: what is not here is asked for again.
            await self._count(upload, size)
            return msgspec.structs.replace(upload, have=size)
        return upload

    async def _write(
        self, upload: Upload, body: AsyncIterator[bytes], size: int | None, checksum: tuple[str, bytes] | None, asked: asyncio.Event
    ) -> Upload:
        """Take bytes until the body ends, is cut, goes silent, or somebody else asks for the upload."""
        path = self._file(upload.id)
        fresh = upload.have == 0
        file = await asyncio.to_thread(os.open, path, os.O_RDWR | os.O_CREAT, 0o600)
        digest = hashlib.new(checksum[0], usedforsecurity=False) if checksum else None
        start = counted = at = upload.have
        whole = True
        try:
            await asyncio.to_thread(os.ftruncate, file, start)
            waiting = bytearray()
            pieces = _until(body, asked)
            try:
                async for piece in pieces:
                    if at + len(waiting) + len(piece) > upload.length:
                        raise Refusal("media.too_long", length=upload.length)
                    waiting += piece
                    if digest:
                        digest.update(piece)
                    if len(waiting) >= WRITE_BYTES:
                        at = await self._put(file, at, waiting)
                        if at - counted >= SYNC_BYTES and digest is None:
                            counted = await self._keep(upload, file, counted, at)
            except _Cut:
                whole = False
            finally:
                await pieces.aclose()
            at = await self._put(file, at, waiting)
            if size is not None and at - start < size:
                whole = False
            if whole and checksum is not None and digest is not None and digest.digest() != checksum[1]:
                raise Refusal("media.checksum")
            if fresh:
                await asyncio.to_thread(sync_folder, self.staging)
            counted = await self._keep(upload, file, counted, at)
        except OSError as error:
            log.error("media.write_failed", upload=upload.id, error=str(error))
            raise Refusal("media.no_room", headers={"Retry-After": "600"}) from error
        finally:
            await asyncio.to_thread(os.close, file)
        return msgspec.structs.replace(upload, have=counted)

    async def _put(self, file: int, at: int, waiting: bytearray) -> int:
        """Write what waits at its place; the place after it."""
        if not waiting:
            return at
        data = bytes(waiting)
        waiting.clear()
        await asyncio.to_thread(_write_all, file, data, at)
        return at + len(data)

    async def _keep(self, upload: Upload, file: int, counted: int, at: int) -> int:
        """Sync, then count: in this order a kill between the two costs a repetition and never a byte."""
        if at == counted:
            return counted
        await asyncio.to_thread(os.fsync, file)
        await self._count(msgspec.structs.replace(upload, have=counted), at)
        return at

    async def _count(self, upload: Upload, have: int) -> None:
        async with self.store.write() as tx:
            touched = await tx.run(
                "UPDATE upload SET have = $2 WHERE id = $1 AND have = $3 AND state = 'open'", upload.id, have, upload.have
            )
        if touched != 1:
            # Another process of ours took the upload over meanwhile.
            raise Refusal("media.offset", have=upload.have)

    async def texts(self, content: bytes) -> list[str]:
        """What the QR codes in a photo say. Nothing of the photo is kept. Raises Refusal `media.…` where it is no photo we take, or nobody
        has time for it."""
        if len(content) > check.BYTES_MAX:
            raise Refusal("media.too_large", limit_mb=check.BYTES_MAX // 1024 // 1024)
        if check.sniff(content[: check.HEAD_BYTES]) is None:
            raise Refusal("media.not_an_image")
        file = self.staging / f"read-{secrets.token_hex(16)}.photo"
        try:
            await asyncio.to_thread(file.write_bytes, content)
            answer = await self.children.read(file)
        except Busy as busy:
            raise Refusal("media.busy", headers={"Retry-After": str(RETRY_SECONDS)}, seconds=RETRY_SECONDS) from busy
        except OSError as error:
            raise Refusal("media.no_room", headers={"Retry-After": "600"}) from error
        finally:
            await asyncio.to_thread(_remove, file)
        if "ok" not in answer:
            raise Refusal(answer["code"])
        found: list[str] = answer["ok"]["texts"]
        return found

    async def _finish(self, upload: Upload) -> Upload:
        """Check, derive, store. Every step may be repeated; the last one is the row that says it is here."""
        file = self._file(upload.id)
        if await asyncio.to_thread(_sha256, file) != upload.sha256:
            await self._forget(upload.id)
            raise Refusal("media.differs")
        if await asyncio.to_thread(_kind, file) is None:
            return await self._judged(upload, {"code": "media.not_an_image"})
        into = self.staging / f"{upload.id}.parts"
        await asyncio.to_thread(into.mkdir, exist_ok=True)
        try:
            answer = await self.children.derive(file, into)
        except Busy as busy:
            raise Refusal("media.busy", headers={"Retry-After": str(RETRY_SECONDS)}, seconds=RETRY_SECONDS) from busy
        if "ok" in answer:
            try:
                for variant in SERVED:
                    await self.shelf.put(upload.sha256, variant, into / variant)
                await self.shelf.put(upload.sha256, EVIDENCE, file)
            except OSError as error:
                log.error("media.store_failed", upload=upload.id, error=str(error))
                raise Refusal("media.no_room", headers={"Retry-After": "600"}) from error
        return await self._judged(upload, answer)

    async def _judged(self, upload: Upload, answer: dict[str, Any]) -> Upload:
        """Write down how it ended, then clear the folder. A photo once stored stays stored, whatever a later try says."""
        found = answer.get("ok", {})
        outcome = "done" if found else "refused"
        now = self.clock()
        async with self.store.write() as tx:
            await tx.run(
                "INSERT INTO media (sha256, type, size, w, h, state, code, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
                "ON CONFLICT (sha256) DO UPDATE SET type = excluded.type, w = excluded.w, h = excluded.h, state = excluded.state, "
                "code = excluded.code, at = excluded.at WHERE media.state = 'refused'",
                upload.sha256,
                found.get("type", upload.type),
                upload.length,
                found.get("w"),
                found.get("h"),
                "stored" if found else "refused",
                answer.get("code"),
                now,
            )
            await tx.run("UPDATE upload SET state = $2, code = $3 WHERE id = $1", upload.id, outcome, answer.get("code"))
        await asyncio.to_thread(self._clear, upload.id)
        log.info("media.finished", state=outcome, code=answer.get("code"), size=upload.length, cpu_s=answer.get("cpu_s"))
        return msgspec.structs.replace(upload, state=outcome, code=answer.get("code"))

    async def _finish_all(self, ids: list[str]) -> None:
        for upload_id in ids:
            try:
                await self.look(upload_id)
            except Refusal as refusal:
                log.info("media.not_finished", upload=upload_id, code=refusal.code)

    async def _forget(self, upload_id: str) -> None:
        """Row first: a file without a row is cleared at the next start, a row without its file would promise bytes that are not there."""
        async with self.store.write() as tx:
            await tx.run("DELETE FROM upload WHERE id = $1", upload_id)
        await asyncio.to_thread(self._clear, upload_id)

    async def _sweep(self) -> None:
        """Forget what is over, every ten minutes at most."""
        now = self.clock()
        if now - self._swept_at < SWEEP_MINUTES * 60_000:
            return
        self._swept_at = now
        async with self.store.read() as tx:
            over = [row["id"] for row in await tx.all("SELECT id FROM upload WHERE ends_at < $1 LIMIT 1000", now)]
        for upload_id in over:
            if upload_id not in self._turns:
                await self._forget(upload_id)

    def _file(self, upload_id: str) -> Path:
        return self.staging / f"{upload_id}.bytes"

    def _clear(self, upload_id: str) -> None:
        for entry in (self._file(upload_id), self.staging / f"{upload_id}.parts"):
            _remove(entry)


class _Cut(Exception):
    """The body ended before its end."""


async def _until(body: AsyncIterator[bytes], asked: asyncio.Event) -> AsyncGenerator[bytes, None]:
    """The pieces of a body. Raises `_Cut` where the connection ends or is silent for a minute, or somebody else asks."""
    stop = asyncio.ensure_future(asked.wait())
    source = aiter(body)
    try:
        while True:
            piece = asyncio.ensure_future(anext(source, None))
            try:
                await asyncio.wait({piece, stop}, timeout=IDLE_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
                if not piece.done():
                    raise _Cut
                try:
                    got = piece.result()
                except Exception as error:
                    raise _Cut from error
            finally:
                if not piece.done():
                    piece.cancel()
                    await asyncio.wait({piece})
            if got is None:
                return
            yield got
            if stop.done():
                raise _Cut
    finally:
        stop.cancel()


def _fit(upload: Upload) -> Upload:
    if upload.state == "refused":
        raise Refusal(upload.code or "media.broken")
    return msgspec.structs.replace(upload, have=upload.length) if upload.state == "done" else upload


def _upload(row: Row) -> Upload:
    return Upload(row["id"], row["sha256"], row["type"], row["length"], row["have"], row["state"], row["code"], row["ends_at"])


def _free_bytes(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write_all(file: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, at)
        rest, at = rest[written:], at + written


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(path: Path) -> str | None:
    with path.open("rb") as file:
        return check.sniff(file.read(check.HEAD_BYTES))


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
