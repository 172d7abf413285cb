"""The `anlu` command.

anlu serve [--lan]      the plant's server; --lan: HTTPS on the plant's net with a certificate authority of its own
anlu demo [--lan] [--small]  a demo plant with a month behind it, served; --small: a little one without
anlu backup FOLDER      copies the plant away while it works
anlu restore FOLDER     brings the newest backup back; what stood is moved aside
anlu doctor             looks at clock, disk, database, keys, certificate, photos: what is wrong and what to do
anlu verify             reads the whole ledger and says whether anything was changed in it, or in the documents it gives
anlu kinds check        proves every kind sound
anlu settings           every setting, its variable, its default and what holds now
anlu create-admin       a one-time code with which a browser makes an administrator
anlu keep [--dry-run]   rounds old places, drops old trails now, as the server does day by day; --dry-run: says what is due
anlu rotate-keys        new signing keys; the old ones go on being believed until what they signed has ended
"""

import argparse
import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess

from backend import demo
from backend.audit.cold import Cold
from backend.audit.verify import verify as verify_ledger
from backend.auth import passwords, setup
from backend.auth.revocations import Revocations
from backend.auth.tokens import Keys
from backend.flow import lint
from backend.flow.judge import FlowJudge
from backend.flow.load import changed_kinds, file_kinds
from backend.kernel.clock import wall_clock
from backend.kernel.errors import Text
from backend.operate import NotDone, backup, doctor, lan, restore, upgrade
from backend.operate.keeper import Keeper
from backend.operate.version import program
from backend.settings import Settings, WrongSetting, describe
from backend.store import FAILURES, DatabaseAway, migrate, open_store
from backend.sync.rebuild import differences
from backend.sync.server import Sync
from backend.sync.shapes import TxDocs
from backend.web.metrics import MANY
from media.store import shelf

BACKLOG = 512
SHUTDOWN_SECONDS_MAX = 5
ANSWER_SECONDS_MAX = 60
"""One of several processes that does not say that it lives for so long, its start included, is begun anew."""
CHECK_EVERY_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.command == "demo":
            os.environ["ANLU_DEMO"] = "true"
            os.environ.setdefault("ANLU_DATA", "data/demo")
            if asked.small:
                os.environ["ANLU_DEMO_SIZE"] = "small"
            os.environ.setdefault("ANLU_DEMO_SIZE", "large")
            # The accounts stay in view: what was answered does not scroll them away.
            os.environ.setdefault("ANLU_LOG_LEVEL", "warning")
        settings = Settings.read()
    except WrongSetting as wrong:
        print(wrong, file=sys.stderr)
        return 2
    match asked.command:
        case "serve":
            return serve_on_lan(settings) if asked.lan else serve(settings)
        case "demo":
            return show_demo(settings, lan=asked.lan)
        case "backup":
            return _do(back_up(settings, asked))
        case "restore":
            return _do(bring_back(settings, asked))
        case "doctor":
            return asyncio.run(examine(settings))
        case "verify":
            return asyncio.run(verify(settings))
        case "kinds":
            return lint.main(asked.files)
        case "settings":
            return show_settings(settings)
        case "keep":
            return asyncio.run(keep(settings, dry=asked.dry_run))
        case "create-admin":
            return create_admin(settings)
        case "rotate-keys":
            return rotate_keys(settings)
    return 2


def show_demo(settings: Settings, *, lan: bool = False) -> int:
    """Serve a demo plant, made at the first start. A plant that is somebody's is left alone."""
    trouble = asyncio.run(_trouble(settings))
    if trouble is not None:
        _say(trouble, error=True)
        return 1
    if asyncio.run(_plant_in(settings)) == "other":
        _say(demo.NOT_EMPTY, error=True)
        return 1
    return serve_on_lan(settings) if lan else serve(settings)


async def _plant_in(settings: Settings) -> str:
    store = open_store(settings.database_url)
    try:
        return await demo.state(store)
    finally:
        await store.close()


def serve_on_lan(settings: Settings) -> int:
    """Serve HTTPS at this machine's addresses, with a certificate of our own authority, and tell phones how to trust it."""
    if settings.workers > 1:
        _say(Text("--lan 只用 1 个进程：请去掉 ANLU_WORKERS。", "--lan serves with one process: take ANLU_WORKERS away."), error=True)
        return 1
    found = [str(one) for one in lan.addresses()]
    named = urlsplit(settings.origin).hostname if settings.origin else None
    hosts = list(dict.fromkeys([*([named] if named else []), *found, *lan.names(), "127.0.0.1", "localhost"]))
    if not found and named is None:
        _say(
            Text("本机没有可用的局域网地址：请先连上工厂网络。", "This machine has no address: connect it to the plant's net first."),
            error=True,
        )
        return 1
    authority = lan.prepare(settings.keys_path / "ca", hosts, wall_clock())
    os.environ["ANLU_TLS_CERTIFICATE"], os.environ["ANLU_TLS_KEY"] = str(authority.server), str(authority.server_key)
    given = Settings()
    host = settings.host if settings.host != given.host else "0.0.0.0"  # noqa: S104 - phones come from the whole net
    port = settings.port if settings.port != given.port or "ANLU_PORT" in os.environ else lan.PORT
    return serve(msgspec.structs.replace(settings, host=host, port=port), _Lan(authority, hosts))


class _Lan(msgspec.Struct):
    """HTTPS on the plant's net: the authority, and what this machine is called there, best first."""

    authority: lan.Authority
    hosts: list[str]

    def announce(self, settings: Settings, port: int) -> lan.Helper:
        """Give out the page and the certificate, and say so. Raises OSError where the port is taken."""
        # The app reads its settings anew; where phones find it is known only now.
        origin = settings.public_origin if settings.origin else f"https://{self.hosts[0]}:{port}"
        os.environ["ANLU_ORIGIN"] = origin
        helper = lan.Helper(settings.host, settings.lan_http_port, self.hosts[0])
        fingerprint = self.authority.fingerprint()
        helper.start(lan.page(helper.url, origin, fingerprint), self.authority.certificate)
        print(lan.terminal_qr(helper.url), flush=True)
        _say(lan.invitation(helper.url, origin, fingerprint))
        return helper

    def check(self, server: uvicorn.Server, port: int) -> None:
        """Once the server answers, ask it as a phone would that trusts the authority, and say what came of it."""
        while not server.started:
            if server.should_exit:
                return
            time.sleep(CHECK_EVERY_SECONDS)
        for host, wrong in lan.check(self.authority, self.hosts, port):
            if wrong:
                _say(Text(f"✗ https://{host}:{port} 自检失败：{wrong}", f"✗ https://{host}:{port} failed: {wrong}"), error=True)
            else:
                _say(Text(f"✓ https://{host}:{port} 自检通过", f"✓ https://{host}:{port} answers under the CA certificate"))


def serve(settings: Settings, on_lan: _Lan | None = None) -> int:
    """Listen first, then start: who asks for port 0 learns which one it became, and a taken port is said in a sentence. So is what else
    stops the start."""
    trouble = asyncio.run(_trouble(settings))
    if trouble is not None:
        _say(trouble, error=True)
        return 1
    try:
        listening = _listen(settings.host, settings.port)
    except OSError as error:
        _say(
            Text(
                f"无法在 {settings.host}:{settings.port} 上监听：{error.strerror}。请用 ANLU_PORT 选别的端口，或停掉占用它的程序。",
                f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Choose another with ANLU_PORT.",
            ),
            error=True,
        )
        return 1
    # The app reads its settings anew (it may be one of several processes); what was decided here goes by the environment.
    port = listening.getsockname()[1]
    os.environ["ANLU_HOST"], os.environ["ANLU_PORT"] = settings.host, str(port)
    try:
        helper = on_lan.announce(settings, port) if on_lan else None
    except OSError as error:
        listening.close()
        _say(
            Text(
                f"证书发放端口 {settings.lan_http_port} 用不了：{error.strerror}。请用 ANLU_LAN_HTTP_PORT 选别的端口。",
                f"The port {settings.lan_http_port} for the certificate: {error.strerror}. Choose another with ANLU_LAN_HTTP_PORT.",
            ),
            error=True,
        )
        return 1
    certificate = (on_lan.authority.server, on_lan.authority.server_key) if on_lan else (settings.tls_certificate, settings.tls_key)
    config = uvicorn.Config(
        "backend.app:from_environment",
        factory=True,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies,
        ssl_certfile=certificate[0] or None,
        ssl_keyfile=str(certificate[1]) if certificate[1] else None,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
        workers=settings.workers,
        timeout_worker_healthcheck=ANSWER_SECONDS_MAX,
    )
    if settings.workers > 1:
        return _serve_with(settings, config, listening)
    server = uvicorn.Server(config)
    if on_lan:
        threading.Thread(target=on_lan.check, args=(server, port), name="anlu-lan-check", daemon=True).start()
    with contextlib.closing(listening), contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    if helper is not None:
        helper.stop()
    return 0 if server.started else 1


def _serve_with(settings: Settings, config: uvicorn.Config, listening: socket.socket) -> int:
    """Several processes on one port. One that dies is begun anew; SIGHUP renews all of them, one after the other, without a gap."""
    # What the first start makes is made once, before there are several who would.
    Keys(settings.keys_path, wall_clock())
    passwords.cost_of(settings.keys_path / "password-cost.json", settings.password_ms)
    with contextlib.closing(listening), tempfile.TemporaryDirectory(prefix="anlu-metrics-") as counted:
        os.environ[MANY] = counted
        _say(asyncio.run(_greeting(settings)))
        supervisor = Multiprocess(config, sockets=[listening])
        supervisor.run()
        return int(any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes))


async def _greeting(settings: Settings) -> Text:
    store = open_store(settings.database_url)
    try:
        return await setup.greeting(store, settings.keys_path, settings.public_origin, wall_clock())
    finally:
        await store.close()


async def _trouble(settings: Settings) -> Text | None:
    """What stops the start, in a sentence: a folder or the database cannot be used, an upgrade has no backup, a kind file was changed under
    documents that are under way. The schema is up to date afterwards."""
    for name, folder in (("ANLU_DATA", settings.data_path), ("ANLU_MEDIA", settings.media_path), ("ANLU_KEYS", settings.keys_path)):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return Text(
                f"文件夹 {folder} 用不了：{error.strerror}。请检查 {name}、文件夹的权限和磁盘余量。",
                f"The folder {folder} cannot be used: {error.strerror}. Check {name}, the folder's rights and the room on its disk.",
            )
    photos = shelf(settings.media_path, settings.s3)
    try:
        await photos.ready()
    except OSError as error:
        return Text(
            f"照片存放处 {photos.name} 用不了：{error}。请检查 ANLU_S3。",
            f"The place of the photos, {photos.name}, cannot be used: {error}. Check ANLU_S3.",
        )
    store = open_store(settings.database_url)
    try:
        await upgrade.before(settings, store)
        await migrate(store)
        async with store.read() as tx:
            changed = await changed_kinds(TxDocs(tx))
        return changed.text if changed is not None else None
    except NotDone as not_done:
        return not_done.text
    except FAILURES as error:
        why = error.why if isinstance(error, DatabaseAway) else str(error)
        return Text(
            f"数据库用不了：{why}。请检查数据库是否在运行、ANLU_DATABASE 与数据目录的权限和余量；./justw anlu doctor 逐项查看。",
            f"The database cannot be used: {why}. Check that it runs, ANLU_DATABASE, and the data folder's rights and room;"
            " ./justw anlu doctor looks at each.",
        )
    finally:
        await store.close()


async def back_up(settings: Settings, asked: argparse.Namespace) -> int:
    """Make a snapshot, whether the server runs or not."""
    made = await backup.make(
        settings,
        asked.folder.resolve(),
        program=program(),
        keep=asked.keep,
        keys_to=asked.keys.resolve() if asked.keys else None,
        with_media=not asked.no_media,
        tell=_say,
    )
    manifest = made.manifest
    head = manifest.head.seq if manifest.head else 0
    _say(
        Text(
            f"已备份到 {made.folder}：账本末条 {head}，照片文件 {manifest.media.files} 个（新增 {made.new_photos}）。",
            f"Backed up to {made.folder}: ledger head {head}, {manifest.media.files} files of photos ({made.new_photos} new).",
        )
    )
    if made.removed:
        _say(Text(f"已删除旧备份 {len(made.removed)} 个。", f"Old backups removed: {len(made.removed)}."))
    if not made.whole:
        _say(
            Text(
                f"注意：数据库里有 {manifest.media.missing} 张照片不在磁盘上，{len(made.broken)} 个照片文件已损坏，未放入备份。",
                f"Mind: {manifest.media.missing} photos that the database knows are not on the disk,"
                f" and {len(made.broken)} files of photos are damaged and were left out.",
            ),
            error=True,
        )
    return 0 if made.whole else 1


async def bring_back(settings: Settings, asked: argparse.Namespace) -> int:
    """Restore a snapshot. The server must not run."""
    restored = await restore.bring_back(
        settings,
        asked.folder.resolve(),
        at=asked.at,
        replace=asked.replace,
        keys_from=asked.keys.resolve() if asked.keys else None,
        tell=_say,
    )
    _say(restored.text())
    return 1 if restored.broken else 0


async def examine(settings: Settings) -> int:
    """Say what is well and what is not; 1 where something is bad."""
    found = await doctor.look(settings)
    for one in found:
        print(one.line())
    return 1 if any(one.level == "bad" for one in found) else 0


async def verify(settings: Settings) -> int:
    """Read the ledger from its first entry to its last, and compare what is derived from it."""
    store = open_store(settings.database_url)
    try:
        judge = FlowJudge(file_kinds())
        cold = Cold(settings.cold_path)
        report = await verify_ledger(store, Keys(settings.keys_path, wall_clock()), lambda: differences(store, judge, cold), cold)
    finally:
        await store.close()
    print(report.text())
    return 0 if report.ok else 1


async def keep(settings: Settings, *, dry: bool) -> int:
    """Take away what is old, whether the server runs or not."""
    store = open_store(settings.database_url)
    try:
        await migrate(store)
        judge = FlowJudge(file_kinds())
        sync = Sync(store, judge, Keys(settings.keys_path, wall_clock()), Revocations(settings.keys_path / "revocations.jsonl"))
        async with store.read() as tx:
            await judge.warm(TxDocs(tx))
        keeper = Keeper(sync, judge, wall_clock, cold=settings.cold_path, cold_years=settings.cold_years)
        if dry:
            _say((await keeper.due()).text(dry=True))
            return 0
        await sync.start()
        try:
            kept = await keeper.keep()
        finally:
            await sync.stop()
    finally:
        await store.close()
    if kept is None:
        _say(Text("服务器正在清理，请过一会儿再看。", "The server is at it now; look again in a while."))
        return 1
    _say(kept.text())
    return 0


def show_settings(settings: Settings) -> int:
    """Every setting, Chinese and English."""
    for one in describe():
        held = getattr(settings, one.name)
        print(f"{one.variable}={held!s}    [{one.default!s}]\n    {one.zh}\n    {one.en}" + (f"\n    {one.example}" if one.example else ""))
    return 0


def create_admin(settings: Settings) -> int:
    """A code that makes one administrator within a day, whether the server runs or not."""
    settings.keys_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    code = setup.make(settings.keys_path, wall_clock())
    _say(setup.invitation(code, settings.public_origin))
    return 0


def rotate_keys(settings: Settings) -> int:
    """Make new keys. A running server takes them at its next start."""
    now = wall_clock()
    Keys(settings.keys_path, now).rotate(now)
    _say(Text("已生成新密钥；重启服务器后生效。", "New keys are made; the server uses them from its next start."))
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    listening.set_inheritable(True)
    return listening


def _do(work: Coroutine[Any, Any, int]) -> int:
    """Run a command of the operator's; why it was not done goes to standard error."""
    try:
        return asyncio.run(work)
    except NotDone as not_done:
        _say(not_done.text, error=True)
        return 1


def _say(text: Text, *, error: bool = False) -> None:
    print(f"{text.zh}\n{text.en}", file=sys.stderr if error else sys.stdout, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="anlu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in ("serve", "demo"):
        served = commands.add_parser(name)
        served.add_argument("--lan", action="store_true", help="HTTPS on the plant's net")
        if name == "demo":
            served.add_argument("--small", action="store_true", help="5 areas and 20 machines, without a past")
    for name in ("doctor", "verify", "settings", "create-admin", "rotate-keys"):
        commands.add_parser(name)
    kept = commands.add_parser("keep")
    kept.add_argument("--dry-run", action="store_true", help="only say what is due")
    copied = commands.add_parser("backup")
    copied.add_argument("folder", type=Path, help="where backups are kept; each becomes a folder of its own in it")
    copied.add_argument("--keep", type=_at_least_one, help="keep only this many backups, the newest")
    copied.add_argument("--keys", type=Path, help="another folder for keys and revocations")
    copied.add_argument("--no-media", action="store_true", help="leave the photos out")
    back = commands.add_parser("restore")
    back.add_argument("folder", type=Path, help="a folder of backups, or one backup")
    back.add_argument("--at", help="the name of the backup; without it the newest")
    back.add_argument("--replace", action="store_true", help="move aside what is here")
    back.add_argument("--keys", type=Path, help="where the backup's keys are, if not in it")
    kinds = commands.add_parser("kinds")
    kinds.add_argument("what", choices=["check"])
    kinds.add_argument("files", nargs="*", help="kind files; none: all of the product's")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
