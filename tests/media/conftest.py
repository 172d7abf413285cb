"""Media servers as processes, and a phone that speaks tus."""

import base64
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

SERVER = Path(__file__).parent / "media_server.py"


class Server:
    """A running media server. `kill` ends it with SIGKILL."""

    def __init__(self, pid: int, port: int, folder: Path) -> None:
        self.pid, self.port, self.folder = pid, port, folder
        self.url = f"http://127.0.0.1:{port}"

    def wait(self) -> "Server":
        """Until it answers."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
                    wire.sendall(b"OPTIONS /api/media/uploads HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    if b" 204 " in wire.recv(64):
                        return self
            except OSError:
                if not self.alive:
                    raise AssertionError("the server died at its start") from None
                time.sleep(0.01)
        raise AssertionError("the server did not answer")

    @property
    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        while self.alive:
            time.sleep(0.005)

    def phone(self, who: str | None = "reader") -> "Phone":
        """A client: with the session of `reader` or `stranger`, or without one."""
        cookies, headers = {}, {}
        if who:
            kept = json.loads((self.folder / "cookie").read_text())
            cookies = {kept["name"]: kept[who]}
            headers = {"Anlu-Person": who, "Anlu-Device": {"reader": "7", "stranger": "8"}[who]}
        return Phone(httpx.Client(base_url=self.url, cookies=cookies, headers=headers, timeout=40, verify=False))


class Phone:
    """Speaks tus 1.0.0."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def create(self, content: bytes, media_type: str = "image/jpeg", sha256: str | None = None, **headers: str) -> httpx.Response:
        sha256 = sha256 or hashlib.sha256(content).hexdigest()
        said = f"sha256 {_b64(sha256.encode())},type {_b64(media_type.encode())}"
        return self.http.post(
            "/api/media/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content)), "Upload-Metadata": said, **headers}
        )

    def offset(self, at: str) -> httpx.Response:
        return self.http.head(at, headers={"Tus-Resumable": "1.0.0"})

    def patch(self, at: str, offset: int, content: bytes, **headers: str) -> httpx.Response:
        return self.http.patch(
            at,
            content=content,
            headers={
                "Tus-Resumable": "1.0.0", "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream", **headers,
            },
        )  # fmt: skip

    def upload(self, content: bytes, media_type: str = "image/jpeg") -> httpx.Response:
        """Create and send in one piece; the answer to the last byte, or to the refused creation."""
        made = self.create(content, media_type)
        return self.patch(made.headers["location"], 0, content) if made.status_code == 201 else made

    def get(self, content: bytes, variant: str) -> httpx.Response:
        return self.http.get(f"/api/media/{hashlib.sha256(content).hexdigest()}/{variant}")


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


Start = Callable[..., Server]
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where there is a gigabyte for it: what a sync costs is not tested here, and a power cut is played, not waited for."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**30:
        with tempfile.TemporaryDirectory(prefix="anlu-media-", dir=MEMORY) as folder:
            yield Path(folder)
    else:
        yield tmp_path_factory.mktemp("media")


@pytest.fixture
def tmp_path(base: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=base))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def forge() -> Iterator[subprocess.Popen[str]]:
    """The process that forks servers."""
    process = subprocess.Popen([sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    assert process.stdin is not None
    process.stdin.close()
    process.wait(20)


def begin_on(forge: subprocess.Popen[str], folder: Path, kill: int | None = None, when: str = "before") -> Server:
    """Fork a server on this folder and wait until it answers."""
    assert forge.stdin is not None
    assert forge.stdout is not None
    (folder / "armed").unlink(missing_ok=True)
    forge.stdin.write(json.dumps({"folder": str(folder), "kill": kill, "when": when}) + "\n")
    forge.stdin.flush()
    said: dict[str, Any] = json.loads(forge.stdout.readline())
    server = Server(said["pid"], said["port"], folder).wait()
    while kill is not None and not (folder / "armed").exists():
        time.sleep(0.005)
    return server


@pytest.fixture
def start(forge: subprocess.Popen[str], tmp_path: Path) -> Iterator[Start]:
    """Start a server on this test's folder, or on another one."""
    running: list[Server] = []

    def begin(folder: Path = tmp_path, kill: int | None = None, when: str = "before") -> Server:
        running.append(begin_on(forge, folder, kill, when))
        return running[-1]

    yield begin
    for server in running:
        server.kill()


@pytest.fixture
def server(start: Start) -> Server:
    return start()


@pytest.fixture
def phone(server: Server) -> Phone:
    return server.phone()


def photo(width: int = 640, height: int = 480, form: str = "JPEG", seed: int = 1, **options: Any) -> bytes:
    """A picture of noise blown up: no two seeds alike, and worth a few packets."""
    noise = hashlib.shake_256(str(seed).encode()).digest(32 * 24 * 3)
    image = Image.frombytes("RGB", (32, 24), noise).resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def name(folder: Path, content: bytes, document: str = "check/1") -> None:
    """A document names this photo, as sync's hook would have noted."""
    import sqlite3

    with sqlite3.connect(folder / "anlu.db", timeout=20) as database:
        database.execute("INSERT OR IGNORE INTO media_ref VALUES (?, ?)", (hashlib.sha256(content).hexdigest(), document))
    database.close()
