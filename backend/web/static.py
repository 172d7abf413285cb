"""The built app: read once at start, served from memory with what its build compressed (br, gzip), ETag, 304 and Range.

Files under `/assets/` carry a hash in their name and never change; everything else is asked for anew each time. An address of the app's
own (a page, `/t/<code>` of a tag) is answered with `index.html`, and the app finds its way.
"""

import hashlib
import mimetypes
from pathlib import Path
from typing import Any

import msgspec

from backend.kernel.errors import body as error_body
from backend.kernel.errors import catalogue

NAVIGATION_FALLBACK = "/index.html"
IMMUTABLE = "public, max-age=31536000, immutable"
ASK_ANEW = "no-cache"
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))

TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
}

NOT_BUILT = (
    "<!doctype html><html lang=zh-CN><meta charset=utf-8><title>安炉 Anlu</title>"
    "<p>网页应用尚未构建。请运行 <code>./justw serve</code>。</p><p>The app has not been built. Run <code>./justw serve</code>.</p>"
).encode()


class Asset(msgspec.Struct, frozen=True):
    """A file and its compressed forms: encoding → (bytes, ETag); `""` is the file as it is."""

    media_type: str
    cache: str
    forms: dict[str, tuple[bytes, str]]


class Answer(msgspec.Struct):
    """Status, headers and bytes."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes


class Files:
    """The files of one build."""

    def __init__(self, folder: Path) -> None:
        self._assets: dict[str, Asset] = {}
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if path.is_file() and path.suffix not in (".br", ".gz", ".map"):
                self._assets["/" + path.relative_to(folder).as_posix()] = _asset(path, folder)
        if NAVIGATION_FALLBACK not in self._assets:
            self._assets[NAVIGATION_FALLBACK] = Asset(TYPES[".html"], ASK_ANEW, {"": (NOT_BUILT, _etag(NOT_BUILT, ""))})

    def paths(self) -> list[str]:
        """Every address that is a file."""
        return list(self._assets)

    def answer(self, method: str, path: str, headers: dict[str, str]) -> Answer:
        """The answer to GET or HEAD (else 405) of an address outside `/api/`. Header names in lower case."""
        asset = self._assets.get(path)
        if asset is None and path.endswith("/"):
            asset = self._assets.get(NAVIGATION_FALLBACK) if method in ("GET", "HEAD") else None
        if asset is None and _is_navigation(method, path, headers):
            asset = self._assets[NAVIGATION_FALLBACK]
        if asset is None:
            return _error("http.not_found")
        if method not in ("GET", "HEAD"):
            refused = _error("http.method")
            refused.headers.append((b"allow", b"GET, HEAD"))
            return refused
        found = _ranged(asset, headers) or _whole(asset, headers)
        if method == "HEAD":
            found.content = b""
        return found


def _asset(path: Path, folder: Path) -> Asset:
    raw = path.read_bytes()
    forms = {"": (raw, _etag(raw, ""))}
    for encoding, suffix in ENCODINGS:
        beside = path.with_name(path.name + suffix)
        if beside.exists() and beside.stat().st_size < len(raw):
            forms[encoding] = (beside.read_bytes(), _etag(raw, encoding))
    hashed = path.relative_to(folder).parts[0] == "assets"
    media_type = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(media_type, IMMUTABLE if hashed else ASK_ANEW, forms)


def _etag(raw: bytes, encoding: str) -> str:
    return f'"{hashlib.sha256(raw).hexdigest()[:24]}{"-" + encoding if encoding else ""}"'


def _is_navigation(method: str, path: str, headers: dict[str, str]) -> bool:
    if method not in ("GET", "HEAD") or path.startswith(("/assets/", "/api/")) or "." in path.rsplit("/", 1)[-1]:
        return False
    return headers.get("sec-fetch-mode") == "navigate" or "text/html" in headers.get("accept", "")


def _whole(asset: Asset, headers: dict[str, str]) -> Answer:
    encoding = _encoding(asset, headers.get("accept-encoding", ""))
    content, etag = asset.forms[encoding]
    sent = _common(asset, etag)
    if _matches(headers.get("if-none-match", ""), asset):
        return Answer(304, sent, b"")
    sent += [(b"content-type", asset.media_type.encode()), (b"content-length", str(len(content)).encode())]
    if encoding:
        sent.append((b"content-encoding", encoding.encode()))
    else:
        sent.append((b"accept-ranges", b"bytes"))
    return Answer(200, sent, content)


def _ranged(asset: Asset, headers: dict[str, str]) -> Answer | None:
    """A part of the file as it is (RFC 9110, 14); None where the whole is to be sent: no range, several, or of another version."""
    wanted = headers.get("range", "")
    content, etag = asset.forms[""]
    if not wanted.startswith("bytes=") or "," in wanted or headers.get("if-range", etag) != etag or headers.get("if-none-match"):
        return None
    first, dash, last = wanted.removeprefix("bytes=").strip().partition("-")
    if not dash or not (first or last) or not (first + last).isascii() or not (first + last).isdigit():
        return None
    size = len(content)
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or start > end:
        sent = [*_common(asset, etag), (b"content-range", f"bytes */{size}".encode()), (b"content-length", b"0")]
        return Answer(416, sent, b"")
    part = content[start : end + 1]
    sent = [
        *_common(asset, etag),
        (b"content-type", asset.media_type.encode()),
        (b"content-range", f"bytes {start}-{end}/{size}".encode()),
        (b"content-length", str(len(part)).encode()),
        (b"accept-ranges", b"bytes"),
    ]
    return Answer(206, sent, part)


def _common(asset: Asset, etag: str) -> list[tuple[bytes, bytes]]:
    return [(b"etag", etag.encode()), (b"cache-control", asset.cache.encode()), (b"vary", b"accept-encoding")]


def _encoding(asset: Asset, accepted: str) -> str:
    wanted: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.strip().partition(";")
        try:
            wanted[name.strip()] = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            wanted[name.strip()] = 0.0
    for encoding, _ in ENCODINGS:
        if encoding in asset.forms and wanted.get(encoding, wanted.get("*", 0.0)) > 0:
            return encoding
    return ""


def _matches(header: str, asset: Asset) -> bool:
    held = {etag for _, etag in asset.forms.values()}
    given = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in given or bool(given & held)


def _error(code: str) -> Answer:
    content = msgspec.json.encode(error_body(code, {}))
    sent = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode()), (b"cache-control", b"no-store")]
    return Answer(catalogue()[code].status, sent, content)


def headers_of(scope: Any) -> dict[str, str]:
    """The request's headers by lower-case name; the first of a name counts."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found
