"""Three servers behind a real pgbouncer in transaction mode: no connection of theirs is theirs for longer than a transaction."""

import asyncio
import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from test_postgres import servers, sound, until
from test_pull import Held
from world import Phone

POOLER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONNECTIONS = 4
"""Fewer than the servers would open by themselves."""


@pytest.fixture
def store_kind() -> str:
    return "postgres"


@pytest.fixture
def pooled(database: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The database's address by way of the pooler."""
    asked = urlsplit(database)
    (host,) = parse_qs(asked.query)["host"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="anlu-pooler-"))
    (folder / "users.txt").write_text('"postgres" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={host} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\nauth_file = {folder}/users.txt\n"
        f"pool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\nmax_client_conn = 200\nlogfile = {folder}/log\n"
        "ignore_startup_parameters = extra_float_digits,jit\nserver_reset_query_always = 0\n"
    )
    command = [request.param, str(folder / "pgbouncer.ini")]
    as_user: dict[str, object] = {}
    if os.getuid() == 0:
        # It does not run as root: whoever owns the database's socket may connect to it.
        owner = os.stat(host)
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)
        as_user = {"user": owner.st_uid or pwd.getpwnam("nobody").pw_uid, "group": owner.st_gid or grp.getgrnam("nogroup").gr_gid}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user)  # type: ignore[call-overload]
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None, (folder / "log").read_text() if (folder / "log").exists() else "it ended"
        time.sleep(0.05)
    yield f"postgres://postgres:@127.0.0.1:{port}{asked.path}?statement_cache_size=0"
    process.terminate()
    process.wait(10)
    shutil.rmtree(folder)


# Empty where no pgbouncer could be had: tests/install.sh says so.
through = pytest.mark.parametrize("pooled", [POOLER] if POOLER else [], indirect=True, ids=["pgbouncer"] if POOLER else [])


@through
async def test_three_servers_behind_a_pooler_write_at_once_and_a_phone_that_pulls_misses_nothing(tmp_path: Path, pooled: str):
    async with servers(tmp_path, pooled, 3) as worlds:
        phones = [await world.phone() for world in worlds for _ in range(2)]
        reader = worlds[0]
        watching = await reader.phone()
        held = Held()

        async def write(phone: Phone, rounds: int = 8) -> None:
            docs: list[str] = []
            for n in range(rounds):
                docs.append(phone.new({"note": str(n)}))
                phone.set(docs[n // 2], {"amount": n})
                phone.add(docs[0], {"text": str(n)})
                await phone.push_new()

        async def watch() -> None:
            while True:
                await held.sync(reader, watching)

        watcher = asyncio.create_task(watch())
        await asyncio.gather(*map(write, phones))
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        await held.sync(reader, watching)
        assert held.seqs == {row["key"]: row["seq"] for row in await reader.rows("SELECT key, seq FROM document")}
        seqs = [row["seq"] for row in await reader.rows("SELECT seq FROM ledger ORDER BY seq")]
        assert seqs == list(range(1, len(seqs) + 1))
        await sound(reader)


@through
async def test_where_no_notice_comes_through_a_server_looks_for_itself(tmp_path: Path, pooled: str):
    async with servers(tmp_path, pooled, 2) as (one, two):
        phone, reader = await one.phone(), await two.phone()
        listening = two.sync.hub.join(reader.person, reader.number, ["site"])
        phone.new({"note": "hear"})
        answer = await phone.push()
        await until(listening.woken.is_set, seconds=15)
        assert listening.seq == answer.verdicts[-1].seq
