"""HTTPS on the plant's own net, without anybody's help: a certificate authority of this server's own, a certificate for this machine's
addresses, and a page that tells a phone how to trust it.

A phone registers a service worker, and so starts without a network, only where it trusts the certificate; one that was clicked through is
not trusted. The authority may vouch for addresses of private nets and for this machine's names only (name constraints, RFC 5280, 4.2.1.10):
whoever stole its key could not pass for a bank on the phones that trust it. Its key never leaves the folder of the keys.
"""

import contextlib
import datetime as dt
import html
import http.client
import ipaddress
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import qrcode
import qrcode.image.svg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from backend.auth.tokens import write_secret
from backend.kernel.errors import Text
from backend.operate import snapshot

PORT = 8443
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397
"""iOS takes no more than 825 days from an authority that was installed by hand; a year and a month leaves no room for doubt."""
RENEW_DAYS = 60
PRIVATE = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
SIOCGIFADDR = 0x8915
REQUEST_SECONDS_MAX = 10
CHECK_SECONDS_MAX = 10
CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
"""Of a page without scripts, whose style stands in it."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Authority(msgspec.Struct, frozen=True):
    """Files of the authority and of the server's certificate, in the folder of the keys."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """What phones install."""
        return self.folder / "ca.crt"

    @property
    def key(self) -> Path:
        return self.folder / "ca.key.pem"

    @property
    def server(self) -> Path:
        """The certificate with which the server speaks, and the authority's behind it."""
        return self.folder / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.folder / "server.key.pem"

    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, as phones show it."""
        certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        raw = certificate.fingerprint(hashes.SHA256()).hex().upper()
        return ":".join(raw[i : i + 2] for i in range(0, len(raw), 2))


def addresses() -> list[Address]:
    """This machine's IPv4 addresses that another machine could use, the one towards everybody else first."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # nothing is sent: the system only says from where it would be
            found.append(asking.getsockname()[0])
        except OSError:
            pass
        if sys.platform == "linux":
            import fcntl

            for _, name in socket.if_nameindex():
                try:
                    answer = fcntl.ioctl(asking.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                except OSError:
                    continue
                found.append(socket.inet_ntoa(answer[20:24]))
    with contextlib.suppress(OSError):
        found += [str(one[4][0]) for one in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    usable = (ipaddress.ip_address(one) for one in dict.fromkeys(found))
    return [one for one in usable if not one.is_loopback and not one.is_unspecified]


def names() -> list[str]:
    """This machine's names on the plant's net."""
    name = socket.gethostname().partition(".")[0].lower()
    fit = name.isascii() and name.replace("-", "").isalnum()
    return [name, f"{name}.local"] if fit and name != "localhost" else []


def prepare(folder: Path, hosts: Sequence[str], now: int) -> Authority:
    """The authority, made where there is none, and a certificate for these addresses and names, made anew where it does not name them
    all or ends soon. `now` in Unix ms."""
    authority = Authority(snapshot.private(folder))
    if not authority.certificate.exists() or not authority.key.exists():
        _make_authority(authority, hosts, now)
    if not _fits(authority, hosts, now):
        _make_certificate(authority, hosts, now)
    return authority


def _make_authority(authority: Authority, hosts: Sequence[str], now: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    began = dt.datetime.fromtimestamp(now / 1000, dt.UTC) - dt.timedelta(days=1)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Anlu"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Anlu {socket.gethostname()[:32]} {began:%Y-%m-%d}"),
        ]
    )
    allowed: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_network(net)) for net in PRIVATE]
    allowed += [x509.DNSName(one) for one in dict.fromkeys(["local", "localhost", *names(), *(h for h in hosts if not _ip(h))])]
    # A plant whose net has public numbers: its own addresses, nobody else's.
    allowed += [x509.IPAddress(ipaddress.ip_network(h)) for h in hosts if (ip := _ip(h)) is not None and not _private(ip)]
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number(), began, began + dt.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=allowed, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_secret(authority.key, _private_pem(key))
    write_secret(authority.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _make_certificate(authority: Authority, hosts: Sequence[str], now: int) -> None:
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    issuing = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    assert isinstance(issuing, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    began = dt.datetime.fromtimestamp(now / 1000, dt.UTC) - dt.timedelta(days=1)
    ends = min(began + dt.timedelta(days=CERTIFICATE_DAYS), issuer.not_valid_after_utc)
    certificate = (
        x509.CertificateBuilder(
            issuer.subject,
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])]),
            key.public_key(),
            x509.random_serial_number(),
            began,
            ends,
        )
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.public_key()), critical=False)
        .sign(issuing, hashes.SHA256())
    )
    write_secret(authority.server_key, _private_pem(key))
    chain = certificate.public_bytes(serialization.Encoding.PEM) + authority.certificate.read_bytes()
    write_secret(authority.server, chain)


def _fits(authority: Authority, hosts: Sequence[str], now: int) -> bool:
    if not authority.server.exists() or not authority.server_key.exists():
        return False
    held, issuer = x509.load_pem_x509_certificates(authority.server.read_bytes())[:2]
    if issuer != x509.load_pem_x509_certificate(authority.certificate.read_bytes()):
        return False
    named = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    left = held.not_valid_after_utc - dt.datetime.fromtimestamp(now / 1000, dt.UTC)
    return left > dt.timedelta(days=RENEW_DAYS) and set(named) >= {_general(host) for host in hosts}


def _ip(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _private(ip: Address) -> bool:
    return any(ip in ipaddress.ip_network(net) for net in PRIVATE)


def _general(host: str) -> x509.GeneralName:
    ip = _ip(host)
    return x509.IPAddress(ip) if ip is not None else x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


# What a person and a phone see.


def terminal_qr(text: str) -> str:
    """A QR of the text for a terminal, dark on light whatever its colours."""
    import io

    out = io.StringIO()
    code = qrcode.QRCode(border=2, error_correction=qrcode.constants.ERROR_CORRECT_L)
    code.add_data(text)
    code.print_ascii(out=out, invert=True)
    return out.getvalue()


def svg_qr(text: str) -> str:
    """The same for a page."""
    made = qrcode.make(text, image_factory=qrcode.image.svg.SvgPathImage, border=2, error_correction=qrcode.constants.ERROR_CORRECT_M)
    return str(made.to_string(encoding="unicode"))


def invitation(helper: str, origin: str, fingerprint: str) -> Text:
    """What the terminal says under the QR."""
    return Text(
        f"手机连上同一网络，扫上面的码（{helper}），按页面安装一次根证书，再打开 {origin} 。\n"
        f"根证书指纹 SHA-256：{fingerprint}\n"
        "安卓：下载证书 → 设置 → 安全 → 加密与凭据 → 安装证书 → CA 证书。\n"
        "苹果：用 Safari 下载 → 设置 → 通用 → VPN 与设备管理 → 安装；再到 设置 → 通用 → 关于本机 → 证书信任设置 → 打开开关。",
        f"With the phone on the same net scan the code above ({helper}), install the CA certificate once as the page says,"
        f" then open {origin} .\n"
        f"SHA-256 of the CA certificate: {fingerprint}\n"
        "Android: download it → Settings → Security → Encryption & credentials → Install a certificate → CA certificate.\n"
        "iOS: download it in Safari → Settings → General → VPN & Device Management → Install; then Settings → General → About →"
        " Certificate Trust Settings → switch it on.",
    )


def page(helper: str, origin: str, fingerprint: str) -> str:
    """The page a phone opens first, over plain http: nothing secret is on it."""
    shown = {name: html.escape(value) for name, value in (("helper", helper), ("origin", origin), ("fingerprint", fingerprint))}
    return _PAGE.format(**shown, helper_qr=svg_qr(helper), origin_qr=svg_qr(origin))


_PAGE = """<!doctype html>
<html lang="zh-CN">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>安炉 Anlu</title>
<style>
body {{ font: 17px/1.6 system-ui, sans-serif; color: #12171A; background: #F3F4F1; margin: 0 auto; padding: 16px; max-width: 640px }}
h1 {{ font-size: 24px }} h2 {{ font-size: 19px; margin-top: 28px }}
a.go {{ display: block; background: #0A4F8F; color: #fff; text-align: center; padding: 16px; border-radius: 12px; margin: 12px 0 }}
svg {{ width: 200px; height: 200px; background: #fff; border-radius: 12px }}
.en {{ color: #48535A; font-size: 15px }} code {{ word-break: break-all; font-size: 13px }}
</style>
<h1>安炉 Anlu</h1>
<p>手机要信任本厂服务器的证书，相机和断网启动才能用。只需做一次。</p>
<p class="en">A phone must trust this server's certificate before the camera and the start without a network work. This is done once.</p>
<h2>1. 下载根证书 <span class="en">Download the CA certificate</span></h2>
<a class="go" href="/ca.crt">下载 ca.crt · Download ca.crt</a>
<p>指纹（SHA-256），应与服务器屏幕上的一致：<br><span class="en">Fingerprint, the same as on the server's screen:</span><br>
<code>{fingerprint}</code></p>
<h2>2. 安装 <span class="en">Install</span></h2>
<p><b>安卓</b>：设置 → 安全 → 加密与凭据 → 安装证书 → CA 证书 → 选择 ca.crt（各品牌菜单略有不同，可在设置里搜“证书”）。<br>
<span class="en"><b>Android</b>: Settings → Security → Encryption &amp; credentials → Install a certificate → CA certificate → choose ca.crt
(menus differ; search the settings for “certificate”).</span></p>
<p><b>苹果</b>：用 Safari 打开本页下载 → 设置 → 通用 → VPN 与设备管理 → 安装；然后 设置 → 通用 → 关于本机 → 证书信任设置 → 打开开关。<br>
<span class="en"><b>iOS</b>: download with Safari → Settings → General → VPN &amp; Device Management → Install; then Settings → General →
About → Certificate Trust Settings → switch it on.</span></p>
<h2>3. 打开安炉 <span class="en">Open Anlu</span></h2>
<a class="go" href="{origin}">{origin}</a>
<p>打开后没有警告，就装好了；再“添加到主屏幕”。若仍有警告，请重做第 2 步，不要点“继续访问”。<br>
<span class="en">No warning means it is done; then add it to the home screen. With a warning repeat step 2; do not click through.</span></p>
<h2>给下一部手机 <span class="en">For the next phone</span></h2>
<p>本页 <span class="en">This page</span> {helper}<br>{helper_qr}</p>
<p>安炉（已装证书的手机） <span class="en">Anlu (phones that have the certificate)</span> {origin}<br>{origin_qr}</p>
</html>
"""


class Helper:
    """The plain http port that gives out the page and the certificate. `start` in a thread of its own; `url` is where it is."""

    def __init__(self, host: str, port: int, shown: str) -> None:
        self._server = ThreadingHTTPServer((host, port), _Handler)
        self._server.daemon_threads = True
        self.url = f"http://{shown}:{self._server.server_address[1]}/"

    def start(self, content: str, certificate: Path) -> None:
        der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
        files = {"/": ("text/html; charset=utf-8", content.encode()), "/ca.crt": ("application/x-x509-ca-cert", der)}
        self._server.files = files  # type: ignore[attr-defined]
        threading.Thread(target=self._server.serve_forever, name="anlu-lan", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS_MAX
    server_version = "Anlu"
    sys_version = ""

    def do_GET(self) -> None:
        found = self.server.files.get(self.path.partition("?")[0])  # type: ignore[attr-defined]
        kind, content = found or ("text/plain; charset=utf-8", "没有这个地址。\nThere is nothing at this address.\n".encode())
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", CSP)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Who asked is nobody's business."""


def check(authority: Authority, hosts: Sequence[str], port: int) -> list[tuple[str, str]]:
    """Ask for the service worker as a phone does that trusts the authority and nothing else, at every address; (host, what is wrong or
    empty)."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    found = []
    for host in hosts:
        asking = http.client.HTTPSConnection(host, port, timeout=CHECK_SECONDS_MAX, context=context)
        try:
            asking.request("GET", "/sw.js")
            answer = asking.getresponse()
            kind = answer.headers.get_content_type()
            answer.read()
            wrong = "" if answer.status == 200 and kind == "text/javascript" else f"/sw.js: {answer.status} {kind}"
        except socket.gaierror:
            continue  # this net does not know the machine by that name
        except OSError as error:
            wrong = str(error)
        finally:
            asking.close()
        found.append((host, wrong))
    return found
