"""`anlu doctor`: what can be found out on this machine without a network, each with what to do about it.

A finding is `ok`, `mind` (it works, and will not for ever) or `bad` (something is refused or lost now, or would be). The command ends with
1 where anything is bad. It changes nothing and may run beside the server.
"""

import contextlib
import ctypes
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
from cryptography import x509

from backend.audit import heads
from backend.auth.tokens import Keys
from backend.kernel.clock import Clock, wall_clock
from backend.kernel.errors import Text
from backend.operate import NotDone, database, keeper, last
from backend.settings import Settings
from backend.store import Store, open_store
from backend.store.migrate import FOLDER as MIGRATIONS
from media.store import EVIDENCE, shelf

Level = Literal["ok", "mind", "bad"]

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
CLOCK_BACK_MS_MAX = 300_000
CLOCK_YEAR_MIN_MS = 1_767_225_600_000
"""2026-01-01: no server of ours was ever started before."""
DATABASE_CLOCK_MS_MAX = 2_000
WAL_BYTES_MAX = 256_000_000
CERTIFICATE_DAYS_MIN = 30
BACKUP_HOURS_MAX = 24
AWAITED_DAYS_MAX = 3
TIME_ERROR = 5
"""What adjtimex(2) answers where the kernel's clock is not held by a time server."""
PHOTOS_LOOKED_FOR_MAX = 200_000
SIGNS: dict[Level, str] = {"ok": "✓", "mind": "!", "bad": "✗"}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `name` is stable."""

    name: str
    level: Level
    text: Text

    def line(self) -> str:
        """As it is printed."""
        return f"{SIGNS[self.level]} {self.name}\n    {self.text.zh}\n    {self.text.en}"


async def look(settings: Settings, clock: Clock = wall_clock) -> list[Finding]:
    """Look at everything. What cannot be looked at is a finding too."""
    found: list[Finding] = []
    now = clock()
    for name, check in (("address", _address), ("disk", _disks), ("keys", _keys), ("app", _app), ("backup", _backup)):
        found += _safely(name, lambda check=check: check(settings, now))  # type: ignore[misc]
    found += _safely("certificate", lambda: _certificate(settings, now))
    found += _safely("media", lambda: [_media_folder(settings)])
    found += await _database(settings, now)
    found.append(_kernel_clock(now))
    return sorted(found, key=lambda one: ("bad", "mind", "ok").index(one.level))


def _safely(name: str, look_at: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look_at()
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        return [_bad(name, f"无法检查：{error}", f"cannot be looked at: {error}")]


def _ok(name: str, zh: str, en: str) -> Finding:
    return Finding(name, "ok", Text(zh, en))


def _mind(name: str, zh: str, en: str) -> Finding:
    return Finding(name, "mind", Text(zh, en))


def _bad(name: str, zh: str, en: str) -> Finding:
    return Finding(name, "bad", Text(zh, en))


# What needs no database.


def _address(settings: Settings, _: int) -> list[Finding]:
    origin = settings.public_origin
    local = origin.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]"))
    if settings.https:
        return [_ok("address", f"手机打开 {origin}。", f"Phones open {origin}.")]
    if local:
        return [
            _mind(
                "address",
                f"{origin} 只有本机能用。给手机用请设置 ANLU_ORIGIN 为 https 地址，或用 serve --lan。",
                f"{origin} is for this machine only. For phones set ANLU_ORIGIN to an https address, or use serve --lan.",
            )
        ]
    return [
        _bad(
            "address",
            f"{origin} 不是 https：手机上相机和离线启动都用不了。",
            f"{origin} is not https: on phones neither the camera nor the start without a network works.",
        )
    ]


def _disks(settings: Settings, _: int) -> list[Finding]:
    found = []
    for name, folder, least in (
        ("disk.data", settings.data_path, settings.disk_free_mb_min),
        ("disk.media", settings.media_path, settings.media_free_mb_min),
    ):
        there = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
        free = shutil.disk_usage(there).free // 1_000_000
        zh, en = f"{folder} 剩余 {free} MB，下限 {least} MB。", f"{folder} has {free} MB free, the least is {least} MB."
        if free >= 2 * least:
            found.append(_ok(name, zh, en))
        elif free >= least:
            found.append(_mind(name, zh + "请尽快清理。", en + " Make room soon."))
        elif name == "disk.media":
            found.append(_bad(name, zh + "照片正留在手机里等待。", en + " Photos are waiting on the phones."))
        else:
            found.append(_bad(name, zh + "数据库快要写不下了。", en + " The database will soon have no room."))
    return found


def _keys(settings: Settings, _: int) -> list[Finding]:
    folder = settings.keys_path
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not any(path.name.endswith(".key.json") for path in files):
        return [
            _mind("keys", f"{folder} 里还没有密钥，首次启动时生成。", f"There are no keys in {folder} yet; the first start makes them.")
        ]
    open_to_all = [path for path in (folder, *files) if stat.S_IMODE(path.stat().st_mode) & 0o077 and path.suffix != ".crt"]
    if open_to_all:
        names = ", ".join(path.name for path in open_to_all[:3])
        return [
            _bad(
                "keys",
                f"别的用户能读到密钥（{names}）。请执行 chmod -R go= {folder}",
                f"Other users can read the keys ({names}). Run: chmod -R go= {folder}",
            )
        ]
    if hasattr(os, "geteuid") and any(path.stat().st_uid != os.geteuid() for path in files) and os.geteuid() != 0:
        return [_bad("keys", f"{folder} 里有不属于当前用户的文件。", f"Some files in {folder} are not this user's.")]
    return [_ok("keys", f"密钥只有本用户可读（{folder}）。", f"Only this user can read the keys ({folder}).")]


def _app(settings: Settings, _: int) -> list[Finding]:
    missing = [name for name in ("index.html", "sw.js", "manifest.webmanifest") if not (settings.pwa_path / name).is_file()]
    if missing:
        return [
            _bad(
                "app",
                f"网页应用没有构建好（缺 {'、'.join(missing)}）：请运行 ./justw serve。",
                f"The app is not built ({', '.join(missing)} missing): run ./justw serve.",
            )
        ]
    return [_ok("app", f"网页应用在 {settings.pwa_path}。", f"The app is in {settings.pwa_path}.")]


def _backup(settings: Settings, now: int) -> list[Finding]:
    noted = last.read(settings.data_path)
    if noted is None:
        return [
            _mind(
                "backup",
                "还没有完整备份：anlu backup 文件夹，每 5 分钟一次。",
                "There is no whole backup: anlu backup FOLDER, every 5 minutes.",
            )
        ]
    hours = (now - noted.made_at) // HOUR_MS
    zh, en = f"最近一次完整备份在 {hours} 小时前（{noted.folder}）。", f"The last whole backup was made {hours} h ago ({noted.folder})."
    return [_mind("backup", zh, en) if hours >= BACKUP_HOURS_MAX else _ok("backup", zh, en)]


def _certificate(settings: Settings, now: int) -> list[Finding]:
    file = settings.certificate_file
    if file is None:
        return []
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    days = (int(certificate.not_valid_after_utc.timestamp() * 1000) - now) // DAY_MS
    zh, en = f"证书 {file} 还有 {days} 天到期。", f"The certificate {file} ends in {days} days."
    if days < 0:
        return [_bad("certificate", f"证书 {file} 已过期，手机连不上。", f"The certificate {file} has ended: phones cannot connect.")]
    return [_mind("certificate", zh, en) if days < CERTIFICATE_DAYS_MIN else _ok("certificate", zh, en)]


def _media_folder(settings: Settings) -> Finding:
    folder = settings.media_path
    if not folder.exists():
        return _mind("media", f"照片文件夹 {folder} 还不存在，首次启动时建立。", f"The folder of photos {folder} is not there yet.")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"anlu")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return _bad("media", f"照片文件夹 {folder} 写不进去：{error}", f"The folder of photos {folder} cannot be written: {error}")
    return _ok("media", f"照片文件夹 {folder} 可写。", f"The folder of photos {folder} can be written.")


def _kernel_clock(now: int) -> Finding:
    if now < CLOCK_YEAR_MIN_MS:
        return _bad("clock", "本机时间早于 2026 年：请校时。", "This machine's clock is before 2026: set it.")
    if sys.platform == "linux":
        # struct timex, all zero: ask only. Its size is 208 bytes; room to spare.
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
        if state == TIME_ERROR:
            return _mind(
                "clock",
                "本机时钟没有与时间服务器同步：请启用 chrony 或 systemd-timesyncd。",
                "This machine's clock is not held by a time server: run chrony or systemd-timesyncd.",
            )
    return _ok("clock", "本机时钟正常。", "This machine's clock is held.")


# What the database says.


async def _database(settings: Settings, now: int) -> list[Finding]:
    held = database.of(settings.database_url)
    try:
        there = await held.exists()
    except NotDone as not_done:
        return [Finding("database", "bad", not_done.text)]
    if not there:
        return [_mind("database", "还没有数据库，首次启动时建立。", "There is no database yet; the first start makes it.")]
    found = []
    file = settings.database_file
    if file is not None:
        found += [_integrity(file), _wal(file)]
        if found[0].level == "bad":
            return found
    async with _opened(settings) as store:
        try:
            found += [
                await _schema(store),
                await _ledger(store, settings, now),
                *await _photos(store, settings, now),
                *await _uploads(store, settings, now),
                await _kept(store, now),
            ]
            if file is None:
                found += [await _database_clock(store)]
        except Exception as error:  # whatever a database may say, it is a finding
            found.append(_bad("database", f"数据库读不出来：{error}", f"The database cannot be read: {error}"))
    return found


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    store = open_store(settings.database_url)
    try:
        yield store
    finally:
        await store.close()


def _integrity(file: Path) -> Finding:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as db:
            said = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        return _bad(
            "database",
            f"数据库 {file} 已损坏（{said}）：请停机并 anlu restore。",
            f"The database {file} is damaged ({said}): stop the server and anlu restore.",
        )
    return _ok("database", f"数据库 {file} 完好。", f"The database {file} is sound.")


def _wal(file: Path) -> Finding:
    wal = file.with_name(file.name + "-wal")
    size = wal.stat().st_size if wal.exists() else 0
    zh, en = f"预写日志 {size // 1_000_000} MB。", f"The write-ahead log has {size // 1_000_000} MB."
    if size > WAL_BYTES_MAX:
        return _mind(
            "database.wal",
            zh + "有程序长时间占着一次读取，重启服务器可收回。",
            en + " Something has held one read for long: a restart frees it.",
        )
    return _ok("database.wal", zh, en)


async def _schema(store: Store) -> Finding:
    async with store.read() as tx:
        done = {row["name"] for row in await tx.all("SELECT name FROM migration")}
    ours = {path.stem for path in MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.py")}
    waiting, newer = sorted(ours - done), sorted(done - ours)
    if waiting:
        names = ", ".join(waiting)
        return _mind(
            "schema",
            f"下次启动时升级数据库结构：{names}（先自动备份）。",
            f"The next start upgrades the schema: {names} (with a backup before).",
        )
    if newer:
        names = ", ".join(newer)
        return _mind(
            "schema",
            f"数据库结构比这个程序新（{names}）：程序已退回旧版本，仍可运行。",
            f"The schema is newer than this program ({names}): the program went back a version, and works.",
        )
    return _ok("schema", "数据库结构与程序一致。", "The schema is this program's.")


async def _ledger(store: Store, settings: Settings, now: int) -> Finding:
    async with store.read() as tx:
        end = await tx.one("SELECT seq, at FROM ledger ORDER BY seq DESC LIMIT 1")
        seen = heads.last(Keys(settings.keys_path, now)) if any(settings.keys_path.glob("*.key.json")) else None
        row = await tx.one("SELECT hash FROM ledger WHERE seq = $1", seen.seq) if seen is not None else None
    if end is None:
        return _ok("ledger", "账本还是空的。", "The ledger is empty.")
    if end["at"] - now > CLOCK_BACK_MS_MAX:
        minutes = (end["at"] - now) // 60_000
        return _bad(
            "clock.ledger",
            f"账本末条比本机时间晚 {minutes} 分钟：本机时钟被拨回了，请校时。",
            f"The ledger's last entry is {minutes} min after this machine's time: the clock went back, set it.",
        )
    if seen is not None and (row is None or bytes(row["hash"]).hex() != seen.hash):
        return _mind(
            "ledger",
            "数据库不是上次运行的那一个（恢复过，或末尾被改）：请运行 anlu verify；下次启动开始新账期。",
            "The database is not the one that last ran (restored, or cut): run anlu verify; the next start begins an epoch.",
        )
    return _ok("ledger", f"账本末条 {end['seq']}，与签名一致。", f"The ledger's last entry is {end['seq']}, as it was signed.")


async def _photos(store: Store, settings: Settings, now: int) -> list[Finding]:
    held = shelf(settings.media_path, settings.s3)
    async with store.read() as tx:
        stored = await tx.all("SELECT sha256 FROM media WHERE state = 'stored' LIMIT $1", PHOTOS_LOOKED_FOR_MAX)
        awaited = await tx.one(
            "SELECT count(*) AS n FROM (SELECT DISTINCT r.sha256 FROM media_ref r JOIN document d ON d.key = r.doc"
            " WHERE d.created_at < $1 AND NOT EXISTS (SELECT 1 FROM media m WHERE m.sha256 = r.sha256)) AS late",
            now - AWAITED_DAYS_MAX * DAY_MS,
        )
    try:
        if settings.s3:  # a folder would be made, and be that of whoever asks
            await held.ready()
        missing = sum([not await held.has(row["sha256"], EVIDENCE) for row in stored])
    except OSError as error:
        found = [_bad("media.store", f"照片存放处 {held.name} 用不了：{error}", f"The place of the photos, {held.name}, fails: {error}")]
    else:
        if missing:
            found = [
                _bad(
                    "media.missing",
                    f"{missing} 张照片数据库里有、{held.name} 里没有：检查它是否挂载，或从备份恢复。",
                    f"{missing} photos are in the database and not in {held.name}: is it mounted? Else restore.",
                )
            ]
        else:
            found = [_ok("media.missing", f"{len(stored)} 张照片都在 {held.name}。", f"All {len(stored)} photos are in {held.name}.")]
    late = awaited["n"] if awaited is not None else 0
    if late:
        found.append(
            _mind(
                "media.awaited",
                f"{late} 张照片超过 {AWAITED_DAYS_MAX} 天还没传来：让拍照的人打开应用联网。",
                f"{late} photos have been on their way for over {AWAITED_DAYS_MAX} days: who took them should open the app online.",
            )
        )
    return found


async def _uploads(store: Store, settings: Settings, now: int) -> list[Finding]:
    folder = settings.media_path / "uploads"
    async with store.read() as tx:
        rows: list[Any] = await tx.all("SELECT id, ends_at FROM upload")
    known = {row["id"] for row in rows}
    on_disk = {entry.name.partition(".")[0] for entry in folder.iterdir()} if folder.is_dir() else set[str]()
    orphaned, over = len(on_disk - known), sum(row["ends_at"] < now for row in rows)
    zh, en = (
        f"未完成的上传 {len(known)} 个，其中过期 {over} 个；无主的文件 {orphaned} 个。",
        f"Uploads on their way: {len(known)}, over: {over}; files of no upload: {orphaned}.",
    )
    if orphaned:
        return [_mind("uploads", zh + "下次启动时清除。", en + " The next start clears them.")]
    return [_ok("uploads", zh, en)]


async def _kept(store: Store, now: int) -> Finding:
    days = await keeper.late(store, now)
    if days is None:
        return _ok("keeper", "到期内容按日清理。", "What is old is taken away day by day.")
    return _mind(
        "keeper",
        f"已有 {days} 天没有清理到期内容（位置取整、旧轨迹）：服务器需要连续运行；或现在运行 anlu keep。",
        f"What is old (exact places, trails) was not taken away for {days} days: let the server run, or run anlu keep now.",
    )


async def _database_clock(store: Store) -> Finding:
    before = wall_clock()
    async with store.read() as tx:
        row = await tx.one("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms")
    after = wall_clock()
    ms = row["ms"] if row is not None else before
    apart = max(before - ms, ms - after, 0)
    zh, en = f"与数据库服务器的时钟相差 {apart} 毫秒。", f"The database server's clock is {apart} ms from ours."
    return (_mind if apart > DATABASE_CLOCK_MS_MAX else _ok)("clock.database", zh, en)
