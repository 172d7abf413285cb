"""Finished photos in a bucket of an S3 service: what `DiskStore` does, for servers that share no disk.

An object is there whole or not at all, so nothing is linked or synced here; the service answers a put when it has stored it. Uploads on
their way stay on the server's own disk.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from media.store import PIECE_BYTES, SERVED, Part, checked

CONNECT_SECONDS_MAX = 5
READ_SECONDS_MAX = 30
TRIES = 2
CONNECTIONS_MAX = 16
REGION = "us-east-1"
"""Where the address names none: services of one's own ask for no other."""
NOT_THERE = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})

T = TypeVar("T")


class S3Store:
    """`address`: `https://access:secret@host[:port]/bucket[?region=name]`, as the settings have checked it."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._bucket = parts.path.strip("/")
        self._client = Minio(
            parts.netloc.rpartition("@")[2],
            access_key=unquote(parts.username or ""),
            secret_key=unquote(parts.password or ""),
            secure=parts.scheme == "https",
            region=parse_qs(parts.query).get("region", [REGION])[0],
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS_MAX, read=READ_SECONDS_MAX),
                maxsize=CONNECTIONS_MAX,
                cert_reqs="CERT_REQUIRED",
                ca_certs=certifi.where(),
                retries=urllib3.Retry(total=TRIES, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
            ),
        )
        self.name = f"{parts.hostname}/{self._bucket}"

    async def ready(self) -> None:
        """Whether the bucket is there and lets us in. Raises OSError with the service's own word."""
        if not await self._do(lambda: self._client.bucket_exists(self._bucket)):
            raise OSError(f"there is no bucket {self._bucket}")

    async def put(self, sha256: str, part: str, file: Path) -> None:
        if not await self.has(sha256, part):
            kind = SERVED.get(part, "application/octet-stream")
            await self._do(lambda: self._client.fput_object(self._bucket, _key(sha256, part), str(file), content_type=kind))

    async def has(self, sha256: str, part: str) -> bool:
        return await self._unless_missing(lambda: self._client.stat_object(self._bucket, _key(sha256, part))) is not None

    async def open(self, sha256: str, part: str) -> Part | None:
        answer = await self._unless_missing(lambda: self._client.get_object(self._bucket, _key(sha256, part)))
        return None if answer is None else Part(int(answer.headers["content-length"]), self._pieces(answer))

    async def _pieces(self, answer: Any) -> AsyncIterator[bytes]:
        try:
            while piece := await self._do(lambda: answer.read(PIECE_BYTES)):
                yield piece
        finally:
            answer.close()
            answer.release_conn()

    async def _unless_missing(self, work: Callable[[], T]) -> T | None:
        try:
            return await self._do(work)
        except _Missing:
            return None

    async def _do(self, work: Callable[[], T]) -> T:
        """In a thread: the client waits for its answer. Raises OSError for whatever goes wrong on the way."""
        try:
            return await asyncio.to_thread(work)
        except S3Error as error:
            if error.code in NOT_THERE:
                raise _Missing from error
            raise OSError(f"{error.code}: {error.message}") from error
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise OSError(str(error)) from error


class _Missing(OSError):
    """There is no such object."""


def _key(sha256: str, part: str) -> str:
    return f"{sha256[:2]}/{checked(sha256, part)}"
