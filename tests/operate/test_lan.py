"""HTTPS on the plant's net: a phone that trusts the authority gets a service worker, and the authority vouches for nobody else."""

import datetime as dt
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import sync_playwright

from backend.operate import lan
from tests.e2e.harness import PHONE, ROOT, chromium

NOW = 1_800_000_000_000
DAY_MS = 86_400_000
HOSTS = ["192.168.7.20", "anlu-server.local", "127.0.0.1"]


def subject_names(authority: lan.Authority) -> list[str]:
    found = x509.load_pem_x509_certificate(authority.server.read_bytes()).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(one.value) for one in found.value]


def test_the_authority_stays_and_the_certificate_follows_the_machines_addresses(tmp_path: Path):
    first = lan.prepare(tmp_path / "ca", HOSTS, NOW)
    held = first.certificate.read_bytes(), first.server.read_bytes()
    assert subject_names(first) == HOSTS
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (tmp_path / "ca").iterdir())
    again = lan.prepare(tmp_path / "ca", HOSTS, NOW + 30 * DAY_MS)
    assert (again.certificate.read_bytes(), again.server.read_bytes()) == held
    moved = lan.prepare(tmp_path / "ca", ["192.168.7.99", *HOSTS[1:]], NOW)
    assert moved.certificate.read_bytes() == held[0]
    assert subject_names(moved)[0] == "192.168.7.99"
    old = lan.prepare(tmp_path / "ca", HOSTS, NOW + 380 * DAY_MS)
    left = x509.load_pem_x509_certificate(old.server.read_bytes()).not_valid_after_utc - dt.datetime.fromtimestamp(NOW / 1000, dt.UTC)
    assert old.certificate.read_bytes() == held[0]
    assert left > dt.timedelta(days=700)


def handshake(authority: lan.Authority, chain: Path, key: Path, host: str) -> str:
    """What a phone that trusts the authority alone says of a server with this certificate: empty where it is content."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain, key)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            serving.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    answering = threading.Thread(target=serve)
    answering.start()
    try:
        with ssl.create_default_context(cafile=str(authority.certificate)).wrap_socket(ours, server_hostname=host):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        answering.join()


def test_a_phone_that_trusts_the_authority_is_content_with_this_server_and_not_with_another_name(tmp_path: Path):
    now = time.time_ns() // 1_000_000
    authority = lan.prepare(tmp_path / "ca", HOSTS, now)
    for host in HOSTS:
        assert handshake(authority, authority.server, authority.server_key, host) == ""
    assert "mismatch" in handshake(authority, authority.server, authority.server_key, "192.168.7.21")


@pytest.mark.parametrize("name", ["bank.example.com", "8.8.8.8"])
def test_who_stole_the_authoritys_key_cannot_pass_for_somebody_outside_the_plant(tmp_path: Path, name: str):
    now = time.time_ns() // 1_000_000
    authority = lan.prepare(tmp_path / "ca", HOSTS, now)
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    stolen = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    began = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    forged = (
        x509.CertificateBuilder(
            issuer.subject,
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]),
            key.public_key(),
            7,
            began,
            began + dt.timedelta(days=30),
        )
        .add_extension(x509.SubjectAlternativeName([lan._general(name)]), critical=False)
        .sign(stolen, hashes.SHA256())
    )
    (tmp_path / "forged.pem").write_bytes(forged.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(lan._private_pem(key))
    assert "permitted subtree" in handshake(authority, tmp_path / "forged.pem", tmp_path / "key.pem", name)


# The whole of it.


class Served:
    """`anlu demo --lan` as it was started: where phones go, where they get the certificate, and what the terminal said."""

    def __init__(self, origin: str, helper: str, said: str) -> None:
        self.origin = origin
        self.helper = helper
        self.said = said


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("lan")
    own = {k: v for k, v in os.environ.items() if not k.startswith("ANLU_")}
    own |= {
        "ANLU_DATA": str(folder / "data"),
        "ANLU_PORT": "0",
        "ANLU_LAN_HTTP_PORT": "0",
        "ANLU_PASSWORD_MS": "20",
        "PYTHONUNBUFFERED": "1",
    }
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "demo", "--lan", "--small"], cwd=ROOT, env=own, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        ends = time.monotonic() + 90
        while time.monotonic() < ends and process.poll() is None and "✓ https://localhost" not in log.read_text("utf-8"):
            time.sleep(0.2)
        said = log.read_text("utf-8")
        origin = re.search(r"打开 (https://[0-9.]+:\d+) ", said)
        helper = re.search(r"（(http://[0-9.]+:\d+/)）", said)
        assert origin, said
        assert helper, said
        yield Served(origin[1], helper[1], said)
    finally:
        process.terminate()
        process.wait(20)


def test_the_terminal_shows_a_code_the_steps_and_its_own_check(served: Served):
    assert "█" in served.said
    for words in ("证书信任设置", "Certificate Trust Settings", "安装证书 → CA 证书", "Install a certificate → CA certificate"):
        assert words in served.said
    assert f"✓ {served.origin} " in served.said
    assert "✗" not in served.said


def test_the_certificate_and_its_page_come_by_plain_http_and_nothing_else_does(served: Served):
    page = httpx.get(served.helper)
    assert page.status_code == 200
    assert served.origin in page.text
    assert page.text.count("<svg") == 2
    assert "<script" not in page.text
    answer = httpx.get(served.helper + "ca.crt")
    assert answer.headers["content-type"] == "application/x-x509-ca-cert"
    fingerprint = x509.load_der_x509_certificate(answer.content).fingerprint(hashes.SHA256()).hex().upper()
    assert fingerprint in page.text.replace(":", "")
    for path in ("ca.key.pem", "../ca.key.pem", "api/health", "server.key.pem"):
        assert httpx.get(served.helper + path).status_code == 404


def test_a_phone_that_trusts_the_authority_registers_the_worker_and_starts_without_a_network(served: Served, tmp_path: Path):
    der = httpx.get(served.helper + "ca.crt").content
    home = tmp_path / "home"
    arguments = ["--disable-background-networking", "--no-first-run"]
    environment = dict(os.environ)
    if shutil.which("certutil"):
        # As on a phone: the authority is installed among those of the person, and nothing is waved through.
        store = home / ".pki/nssdb"
        store.mkdir(parents=True)
        (tmp_path / "ca.crt").write_bytes(der)
        subprocess.run(["certutil", "-d", f"sql:{store}", "-N", "--empty-password"], check=True)
        subprocess.run(["certutil", "-d", f"sql:{store}", "-A", "-t", "C,,", "-n", "anlu", "-i", str(tmp_path / "ca.crt")], check=True)
        environment["HOME"] = str(home)
    else:
        import base64
        import hashlib

        spki = (
            x509.load_der_x509_certificate(der)
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        arguments.append(f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(spki).digest()).decode()}")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=chromium(), args=arguments, env=environment, viewport=PHONE, locale="zh-CN"
        )
        page = context.pages[0]
        page.goto(served.origin, wait_until="domcontentloaded")
        page.wait_for_function(
            "async () => (await navigator.serviceWorker.getRegistration())?.active?.state === 'activated'", timeout=30_000
        )
        assert page.evaluate("() => isSecureContext")
        page.reload(wait_until="domcontentloaded")
        page.wait_for_function("() => navigator.serviceWorker.controller !== null")
        page.get_by_test_id("sign-in-username").first.wait_for()
        context.set_offline(True)
        page.reload(wait_until="domcontentloaded")
        page.get_by_test_id("sign-in-username").first.wait_for(timeout=30_000)
        context.close()


def test_a_phone_that_does_not_trust_the_authority_is_warned_and_gets_no_worker(served: Served, tmp_path: Path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), env=dict(os.environ) | {"HOME": str(tmp_path)})
        page = browser.new_page()
        with pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
            page.goto(served.origin)
        browser.close()
