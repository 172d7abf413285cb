"""The database as a file and back: SQLite by `VACUUM INTO`, PostgreSQL by its own pg_dump and pg_restore.

Both read one snapshot while others write, and give the ledger's head of exactly that snapshot. SQLite's copy holds no freed pages, so what
was erased is not in it.
"""

import asyncio
import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit, urlunsplit

import msgspec

from backend.operate import NotDone
from backend.operate.snapshot import DATABASE, Head

BUSY_SECONDS_MAX = 60
LOCK_SECONDS_MAX = 2
PG_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")


class Taken(msgspec.Struct):
    """What the snapshot holds besides the ledger: migrations that ran, and the photos (SHA-256) that it has as stored."""

    dialect: str
    head: Head | None
    migrations: list[str]
    photos: set[str]


class Database:
    """One database, for whoever copies it away or back. See `of`."""

    dialect: str

    async def exists(self) -> bool:
        """Whether there is anything in it."""
        raise AssertionError

    async def dump(self, folder: Path) -> Taken:
        """Write its file (`snapshot.DATABASE`) into the folder, durably. Raises NotDone."""
        raise AssertionError

    def load(self, file: Path, aside: str) -> Any:
        """An async context manager: inside it `url` (what it gives) is the restored database, still beside what was there or already in
        its place; left without an exception the restored one stands and what was there lies under the name `aside`; else all is as
        before. Raises NotDone."""
        raise AssertionError

    async def in_use(self) -> bool:
        """Whether somebody, the running server for one, has it open."""
        raise AssertionError


def of(url: str) -> Database:
    """The database at an address as the settings have it."""
    scheme, _, rest = url.partition("://")
    return _Sqlite(Path(rest[1:])) if scheme == "sqlite" else _Postgres(url)


_META = "SELECT name, value FROM meta"
_HEAD = "SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1"
_MIGRATIONS = "SELECT name FROM migration ORDER BY name"
_PHOTOS = "SELECT sha256 FROM media WHERE state = 'stored'"


def _taken(dialect: str, ask: Callable[[str], list[Any]]) -> Taken:
    meta = {row[0]: row[1] for row in ask(_META)}
    head = ask(_HEAD)
    return Taken(
        dialect,
        Head(str(meta.get("epoch", "")), int(head[0][0]), bytes(head[0][1]).hex()) if head else None,
        [str(row[0]) for row in ask(_MIGRATIONS)],
        {str(row[0]) for row in ask(_PHOTOS)},
    )


class _Sqlite(Database):
    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    async def exists(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    async def dump(self, folder: Path) -> Taken:
        return await asyncio.to_thread(self._dump, folder / DATABASE["sqlite"])

    def _dump(self, file: Path) -> Taken:
        file.unlink(missing_ok=True)
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS_MAX, isolation_level=None)) as db:
                db.execute("VACUUM INTO ?", (str(file),))
            file.chmod(0o600)
            with file.open("rb+") as written:
                os.fsync(written.fileno())
            with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as db:
                said = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
                if said != "ok":
                    raise NotDone(f"复制出来的数据库有损坏：{said}", f"The copy of the database is damaged: {said}")
                return _taken("sqlite", lambda sql: db.execute(sql).fetchall())
        except (sqlite3.Error, OSError) as error:
            file.unlink(missing_ok=True)
            raise NotDone(f"数据库 {self.path} 无法备份：{error}", f"The database {self.path} cannot be backed up: {error}") from error

    @asynccontextmanager
    async def load(self, file: Path, aside: str) -> AsyncIterator[str]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        coming = self.path.with_name(self.path.name + ".restoring")
        for name in _family(coming):
            name.unlink(missing_ok=True)
        try:
            await asyncio.to_thread(_copy_durably, file, coming)
            yield f"sqlite:///{coming}"
            if await self.exists():
                before = self.path.parent / aside
                before.mkdir(mode=0o700, exist_ok=True)
                # The log first: without its log the database is only older, a log without its database is nothing.
                for name in reversed(_family(self.path)):
                    if name.exists():
                        name.replace(before / name.name)
            for name in _family(coming)[1:]:
                name.unlink(missing_ok=True)
            coming.replace(self.path)
            _sync(self.path.parent)
        finally:
            for name in _family(coming):
                name.unlink(missing_ok=True)

    async def in_use(self) -> bool:
        if not self.path.exists():
            return False
        return await asyncio.to_thread(self._locked)

    def _locked(self) -> bool:
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=LOCK_SECONDS_MAX, isolation_level=None)) as db:
                # Every connection of a server holds a shared lock for as long as it is open.
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
                db.execute("BEGIN EXCLUSIVE")
                db.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
        except sqlite3.DatabaseError:
            return False  # it is broken, which is why somebody restores
        return False


def _family(path: Path) -> list[Path]:
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]


def _copy_durably(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        os.fchmod(writing.fileno(), 0o600)
        shutil.copyfileobj(reading, writing, 1024 * 1024)
        writing.flush()
        os.fsync(writing.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Postgres(Database):
    dialect = "postgres"

    def __init__(self, url: str) -> None:
        address, _, _ = url.partition("?")
        own = {"pool_size", "statement_cache_size"}
        query = {name: values[-1] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items() if name not in own}
        self.url = url
        self.query = query
        parts = urlsplit(address)
        self.password = unquote(parts.password) if parts.password else query.pop("password", None)
        host = parts.netloc.rpartition("@")[2]
        user = parts.netloc.rpartition("@")[0].partition(":")[0]
        # The password goes by the environment: an argument stands in everybody's list of processes.
        self.address = urlunsplit(("postgresql", f"{user}@{host}" if user else host, parts.path, urlencode(query, safe="/"), ""))

    async def exists(self) -> bool:
        connection = await self._connect()
        try:
            return bool(await connection.fetchval("SELECT to_regclass('public.migration') IS NOT NULL"))
        finally:
            await connection.close()

    async def dump(self, folder: Path) -> Taken:
        file = folder / DATABASE["postgres"]
        connection = await self._connect()
        try:
            program = self._program("pg_dump", connection.get_server_version().major)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                same = await connection.fetchval("SELECT pg_export_snapshot()")
                asked = {sql: [tuple(row) for row in await connection.fetch(sql)] for sql in (_META, _HEAD, _MIGRATIONS, _PHOTOS)}
                # While this transaction stands, pg_dump reads the very snapshot whose head was read here.
                await self._run(
                    program, "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={same}", f"--file={file}", self.address
                )
        finally:
            await connection.close()
        file.chmod(0o600)
        with file.open("rb+") as written:
            os.fsync(written.fileno())
        return _taken("postgres", lambda sql: asked[sql])

    @asynccontextmanager
    async def load(self, file: Path, aside: str) -> AsyncIterator[str]:
        connection = await self._connect()
        moved = False
        schema = re.sub(r"\W", "_", aside)
        try:
            program = self._program("pg_restore", connection.get_server_version().major)
            if await self.exists():
                await connection.execute(f'ALTER SCHEMA public RENAME TO "{schema}"')
                moved = True
                await connection.execute("CREATE SCHEMA public")
            try:
                await self._run(
                    program,
                    "--exit-on-error",
                    "--single-transaction",
                    "--no-owner",
                    "--no-privileges",
                    "--schema=public",
                    f"--dbname={self.address}",
                    str(file),
                )
                yield self.url
            except BaseException:
                await connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
                await connection.execute(f'ALTER SCHEMA "{schema}" RENAME TO public' if moved else "CREATE SCHEMA public")
                raise
        finally:
            await connection.close()

    async def in_use(self) -> bool:
        connection = await self._connect()
        try:
            others = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
        finally:
            await connection.close()
        return bool(others)

    async def _connect(self) -> Any:
        import asyncpg

        try:
            return await asyncpg.connect(self.address, password=self.password, statement_cache_size=0)
        except (OSError, asyncpg.PostgresError, ValueError) as error:
            raise NotDone(f"连不上数据库：{error}", f"The database cannot be reached: {error}") from error

    def _program(self, name: str, server: int) -> str:
        """pg_dump or pg_restore, of the server's version or a later one."""
        folders = [*os.environ.get("PATH", "").split(os.pathsep)]
        for pattern in PG_FOLDERS:
            folders += sorted((str(found) for found in Path("/").glob(pattern.lstrip("/"))), reverse=True)
        seen = []
        for folder in folders:
            program = shutil.which(name, path=folder)
            if program is None:
                continue
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
            number = re.search(r"\s(\d+)[.\w]*", said)
            if number and int(number[1]) >= server:
                return program
            seen.append(f"{program} ({said.strip()})")
        raise NotDone(
            f"没有找到 PostgreSQL {server} 或更新的 {name}{'，只有 ' + '、'.join(seen) if seen else ''}。"
            f"请安装 postgresql-client-{server}，或把它加进 PATH。",
            f"There is no {name} of PostgreSQL {server} or later{', only ' + ', '.join(seen) if seen else ''}."
            f" Install postgresql-client-{server} or put it in PATH.",
        )

    async def _run(self, *command: str) -> None:
        environment = dict(os.environ) | ({"PGPASSWORD": self.password} if self.password else {})
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        if process.returncode:
            why = said.decode("utf-8", "replace").strip()[-2000:]
            raise NotDone(f"{Path(command[0]).name} 失败：{why}", f"{Path(command[0]).name} failed: {why}")
