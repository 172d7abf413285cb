"""`anlu restore`: a snapshot becomes the plant again.

Every hash is checked and the whole ledger verified before anything of what stands is touched; what stood is moved aside, never deleted.
Keys and revocations are not taken back in time: what was revoked since the backup stays revoked, a key that was made since is still
believed. The boot id is left out, so the next start knows the database for a restored one and begins a new epoch; phones then send again
what they said since (they keep it 14 days). Photos that are still on the disk stay, and those which the restored database does not know
yet are taken in anew.
"""

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from backend.audit.cold import Cold
from backend.audit.verify import Report, verify
from backend.auth.revocations import Line
from backend.auth.tokens import Keys
from backend.kernel.clock import Clock, wall_clock
from backend.kernel.errors import Text
from backend.operate import NotDone, database, snapshot
from backend.operate.backup import NOT_KEPT
from backend.operate.snapshot import Manifest, Photo, Stored
from backend.settings import Settings
from backend.store import migrate, open_store
from backend.store.migrate import FOLDER as MIGRATIONS
from media.intake import STAGING
from media.store import EVIDENCE

REVOCATIONS = "revocations.jsonl"
ADOPTED_HOURS = 72
HOUR_MS = 3_600_000

Tell = Callable[[Text], None]


class Restored(msgspec.Struct):
    """What a restore did. `aside`: the name under which what stood lies now, None where nothing did; `since`: how many entries of the old
    ledger the snapshot lacks, None where the old one could not be read; `adopted`: photos on the disk that the snapshot did not know;
    `keys_stood`: the keys were still here, and with them every revocation since."""

    snapshot: Path
    manifest: Manifest
    report: Report
    aside: str | None
    since: int | None
    photos: int
    broken: list[str]
    adopted: int
    keys_stood: bool

    def text(self) -> Text:
        """What was done, and what phones will heal."""
        head = self.manifest.head.seq if self.manifest.head else 0
        made = snapshot.name_of(self.manifest.made_at)
        zh = [
            f"已从 {self.snapshot} 恢复（备份时间 {made}，账本末条 {head}，{self.report.entries} 条，校验通过）。",
            f"照片文件：放回 {self.photos} 个，损坏 {len(self.broken)} 个；磁盘上另有 {self.adopted} 张备份之后的照片，启动时收下。",
            "下次启动时开始新的账期：手机先上传、再下载，会自动补上备份之后说过的内容（手机保留 14 天），已开具的回执仍有效。",
            "补不上的：备份之后新建的账号和改过的密码；备份之后在旧手机上已清除、磁盘上也没有的照片。请在启动后核对。",
        ]
        en = [
            f"Restored from {self.snapshot} (made {made}, ledger head {head}, {self.report.entries} entries, verified).",
            f"Files of photos: {self.photos} put back, {len(self.broken)} broken;"
            f" {self.adopted} photos since the backup lie on this disk and are taken in at the start.",
            "The next start begins a new epoch: phones push before they pull, and send again what they said since the backup"
            " (they keep it 14 days); the receipts they hold stay good.",
            "What they cannot bring back: accounts made and passwords changed since the backup, and photos since then that are neither"
            " on this disk nor on a phone any more. Look after the start.",
        ]
        if self.since is not None:
            zh.insert(2, f"原账本在备份之后还有 {self.since} 条，等手机补上后可对照。")
            en.insert(2, f"The old ledger has {self.since} entries since the backup: compare once phones have healed.")
        if not self.keys_stood:
            zh.append("密钥文件夹也丢了：备份之后停用的人员和手机在这里又有效，请立即重新停用。")
            en.append("The keys' folder was lost too: people and phones revoked since the backup count again here. Revoke them anew, now.")
        if self.aside:
            zh.append(f"原有数据移到了“{self.aside}”，确认无误后可以删除。")
            en.append(f"What was here lies under “{self.aside}”; delete it when you are sure.")
        return Text("\n".join(zh), "\n".join(en))


async def bring_back(
    settings: Settings,
    folder: Path,
    *,
    at: str | None = None,
    replace: bool = False,
    keys_from: Path | None = None,
    tell: Tell = lambda _: None,
    clock: Clock = wall_clock,
) -> Restored:
    """Restore the newest snapshot of the folder, or the one named `at`. Raises NotDone, and then nothing was changed."""
    chosen = _choose(folder, at)
    manifest = snapshot.read(chosen)
    target = database.of(settings.database_url)
    _fits(manifest, target)
    keys = _keys_of(chosen, keys_from)
    await _may(settings, target, replace)
    tell(Text(f"核对备份 {chosen.name} ……", f"Checking the backup {chosen.name} …"))
    pool = folder if chosen.parent == folder else chosen.parent
    broken_parts = [*_broken(chosen, [manifest.database]), *_broken(keys, manifest.keys), *_broken(pool / snapshot.COLD, manifest.cold)]
    if broken_parts:
        raise NotDone(
            f"备份不完整或已损坏：{'、'.join(broken_parts)}。没有改动任何东西，请换一个备份。",
            f"The backup is incomplete or damaged: {', '.join(broken_parts)}. Nothing was changed; take another one.",
        )
    now = clock()
    aside = f"before-restore-{snapshot.name_of(now)}"
    was_there = await target.exists()
    since = await _since(settings, manifest) if was_there else None
    coming = settings.keys_path.with_name(settings.keys_path.name + ".restoring")
    shutil.rmtree(coming, ignore_errors=True)
    try:
        _join_keys(keys, settings.keys_path, coming)
        tell(Text("放回数据库，校验整个账本……", "Bringing the database back, verifying the whole ledger …"))
        async with target.load(chosen / snapshot.DATABASE[manifest.dialect], aside) as url:
            checking = settings.keys_path.with_name(settings.keys_path.name + ".checking")
            report = await _verified(url, keys, checking, now, Cold(pool / snapshot.COLD))
            for file in manifest.cold:
                # Beside what is there: a file never changes, and its name tells its content.
                if not (settings.cold_path / file.path).exists():
                    snapshot.copy(pool / snapshot.COLD / file.path, snapshot.private(settings.cold_path) / file.path)
        # From here on the snapshot's database stands. Keys follow; a kill in between leaves the old ones, with which it starts as well.
        keys_stood = _swap_keys(settings, coming, aside)
    finally:
        shutil.rmtree(coming, ignore_errors=True)
    tell(Text("放回照片……", "Bringing photos back …"))
    photos, broken = _photos(pool, settings.media_path, manifest)
    adopted = await _adopt(settings, now)
    return Restored(chosen, manifest, report, aside if keys_stood or was_there else None, since, photos, broken, adopted, keys_stood)


def _choose(folder: Path, at: str | None) -> Path:
    if (folder / snapshot.MANIFEST).is_file():
        return folder
    found = snapshot.whole(folder)
    if at is not None:
        found = [one for one in found if one.name == at]
    if not found:
        raise NotDone(
            f"{folder} 里没有{'名为 ' + at + ' 的' if at else ''}完整备份。",
            f"There is no finished backup{' named ' + at if at else ''} in {folder}.",
        )
    return found[-1]


def _fits(manifest: Manifest, target: database.Database) -> None:
    if manifest.dialect != target.dialect:
        raise NotDone(
            f"备份来自 {manifest.dialect}，而设置的数据库是 {target.dialect}：请改 ANLU_DATABASE。",
            f"The backup is of {manifest.dialect}, the database in the settings is {target.dialect}: change ANLU_DATABASE.",
        )
    ours = {file.stem for file in MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.py")}
    newer = [name for name in manifest.migrations if name not in ours]
    if newer:
        # Migrations only add, so it would work; but then who would know what it is that is not understood.
        raise NotDone(
            f"备份的数据库结构比这个版本新（{'、'.join(newer)}）：请用 {manifest.program} 或更新的版本恢复。",
            f"The backup's schema is newer than this version's ({', '.join(newer)}): restore it with {manifest.program} or later.",
        )


def _keys_of(chosen: Path, keys_from: Path | None) -> Path:
    if keys_from is None:
        return chosen / snapshot.KEYS
    return keys_from / chosen.name if (keys_from / chosen.name).is_dir() else keys_from


async def _may(settings: Settings, target: database.Database, replace: bool) -> None:
    there = [
        what
        for what, found in (
            (Text("数据库", "a database"), await target.exists()),
            (Text("密钥", "keys"), any(settings.keys_path.glob("*.key.json"))),
        )
        if found
    ]
    if there and not replace:
        raise NotDone(
            f"这里已有{'和'.join(one.zh for one in there)}（{settings.data_path}）。加 --replace 会把它移到一旁再恢复。",
            f"There is {' and '.join(one.en for one in there)} here ({settings.data_path}). With --replace it is moved aside first.",
        )
    if await target.in_use():
        raise NotDone(
            "数据库正被使用。请先停掉安炉服务器再恢复。",
            "The database is in use. Stop the Anlu server first, then restore.",
        )


def _broken(folder: Path, files: list[Stored]) -> list[str]:
    return [
        one.path
        for one in files
        if not (folder / one.path).is_file()
        or (folder / one.path).stat().st_size != one.bytes
        or snapshot.sha256_of(folder / one.path) != one.sha256
    ]


async def _verified(url: str, keys: Path, copied: Path, now: int, cold: Cold) -> Report:
    """The whole ledger, against the heads that were signed before the snapshot. `copied`: where its keys may be opened. Raises NotDone."""
    store = open_store(url)
    try:
        # A backup may lie on a disk that cannot be written, and nothing may be added to it anyway.
        shutil.rmtree(copied, ignore_errors=True)
        snapshot.private(copied)
        for path in keys.iterdir():
            if path.is_file():
                snapshot.copy(path, copied / path.name)
        report = await verify(store, Keys(copied, now), cold=cold)
    finally:
        shutil.rmtree(copied, ignore_errors=True)
        await store.close()
    if not report.ok:
        raise NotDone(
            f"备份里的账本通不过校验，没有改动任何东西：\n{report.text()}",
            f"The ledger in the backup does not verify; nothing was changed:\n{report.text()}",
        )
    return report


async def _since(settings: Settings, manifest: Manifest) -> int | None:
    """How many entries the ledger that stands has after the snapshot's head; None where it cannot be read or is another ledger."""
    if manifest.head is None:
        return None
    store = open_store(settings.database_url)
    try:
        async with store.read() as tx:
            same = await tx.one("SELECT hash FROM ledger WHERE seq = $1", manifest.head.seq)
            after = await tx.one("SELECT count(*) AS n FROM ledger WHERE seq > $1", manifest.head.seq)
    except Exception:
        return None  # lost or broken: that is why somebody restores
    finally:
        await store.close()
    return int(after["n"]) if after is not None and same is not None and bytes(same["hash"]).hex() == manifest.head.hash else None


def _join_keys(backup: Path, live: Path, into: Path) -> None:
    """The keys of both; of one that both have, ours that are here now know more: when it was retired."""
    snapshot.private(into)
    for source in (backup, live):
        for path in sorted(source.rglob("*")) if source.is_dir() else ():
            name = path.relative_to(source)
            if path.is_file() and path.name not in NOT_KEPT and name.as_posix() != REVOCATIONS and path.suffix != ".new":
                snapshot.private((into / name).parent)
                snapshot.copy(path, into / name)
    lines: dict[bytes, int] = {}
    for file in (backup / REVOCATIONS, live / REVOCATIONS):
        for text in file.read_bytes().splitlines() if file.exists() else ():
            try:
                lines[text] = msgspec.json.decode(text, type=Line).at
            except (msgspec.DecodeError, msgspec.ValidationError):
                continue
    if lines:
        # In the order in which they were said: the last line on somebody counts.
        snapshot.write(into / REVOCATIONS, b"".join(text + b"\n" for text in sorted(lines, key=lambda text: lines[text])))


def _swap_keys(settings: Settings, coming: Path, aside: str) -> bool:
    """Whether there were keys to move aside."""
    live = settings.keys_path
    live.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = live.is_dir() and any(live.iterdir())
    if there:
        # Beside where they lay: a rename, whatever disk that is.
        live.rename(snapshot.private(live.parent / aside) / live.name)
    elif live.is_dir():
        live.rmdir()
    coming.rename(live)
    snapshot.sync(live.parent)
    return there


def _photos(folder: Path, live: Path, manifest: Manifest) -> tuple[int, list[str]]:
    """Put back what the disk lacks. What is there stays: a photo's name is its content."""
    pool = folder / snapshot.MEDIA
    put, broken = 0, []
    for photo in snapshot.photos(pool).values():
        if not photo.of(manifest.made_at) or (live / photo.path).exists():
            continue
        if not _put(pool / photo.path, live / photo.path, photo):
            broken.append(photo.path)
        else:
            put += 1
    return put, broken


def _put(source: Path, target: Path, photo: Photo) -> bool:
    try:
        if snapshot.copy(source, target) == photo.sha256:
            return True
    except OSError:
        return False
    target.unlink()
    return False


async def _adopt(settings: Settings, now: int) -> int:
    """Photos that lie here and that the restored database does not know: each becomes an upload whose bytes are all here, which the next
    start checks and finishes like any other."""
    live = settings.media_path
    staging = live / STAGING
    on_disk = {
        path.name.partition(".")[0]: path
        for folder in (live.iterdir() if live.is_dir() else ())
        if folder.is_dir() and folder.name != STAGING
        for path in folder.rglob(f"*.{EVIDENCE}")
    }
    adopted = 0
    store = open_store(settings.database_url)
    try:
        await migrate(store)
        async with store.write() as tx:
            known = {row["sha256"] for row in await tx.all("SELECT sha256 FROM media WHERE state = 'stored'")}
            for sha256 in sorted(on_disk.keys() - known):
                snapshot.private(staging)
                name = secrets.token_hex(16)
                snapshot.copy(on_disk[sha256], staging / f"{name}.bytes")
                size = on_disk[sha256].stat().st_size
                await tx.run(
                    "INSERT INTO upload (id, sha256, type, length, have, state, person, made_at, ends_at)"
                    " VALUES ($1, $2, $3, $4, $4, 'open', NULL, $5, $6)",
                    name,
                    sha256,
                    "image/jpeg",
                    size,
                    now,
                    now + ADOPTED_HOURS * HOUR_MS,
                )
                adopted += 1
    finally:
        await store.close()
    return adopted
