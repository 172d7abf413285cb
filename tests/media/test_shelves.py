"""Where finished photos lie, a folder or a bucket: one suite for both, the bucket at a real S3 service over HTTP."""

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio
from moto.server import ThreadedMotoServer

from media.store import EVIDENCE, MediaStore, shelf
from tests.media.conftest import Start, name, photo

LARGE_BYTES = 7 * 1024 * 1024


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of an S3 service."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(service: str) -> str:
    """The address of an empty bucket."""
    made = f"photos-{secrets.token_hex(4)}"
    Minio(service, access_key="access", secret_key="se/cret+", secure=False, region="us-east-1").make_bucket(made)
    return f"http://access:se%2Fcret%2B@{service}/{made}"


@pytest.fixture(params=["disk", "s3"])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStore:
    return shelf(tmp_path / "media", request.getfixturevalue("bucket") if request.param == "s3" else "")


def part_file(folder: Path, content: bytes) -> tuple[str, Path]:
    file = folder / secrets.token_hex(4)
    file.write_bytes(content)
    return hashlib.sha256(content).hexdigest(), file


async def read(held: MediaStore, sha256: str, part: str) -> bytes | None:
    found = await held.open(sha256, part)
    if found is None:
        return None
    content = b"".join([piece async for piece in found.pieces])
    assert len(content) == found.size
    return content


@pytest.fixture
async def ready(held: MediaStore, tmp_path: Path) -> MediaStore:
    await held.ready()
    return held


async def test_what_was_put_is_there_in_all_its_bytes_and_nothing_else_is(ready: MediaStore, tmp_path: Path):
    for content in (b"", b"small", secrets.token_bytes(LARGE_BYTES)):
        sha256, file = part_file(tmp_path, content)
        assert not await ready.has(sha256, "screen")
        assert await read(ready, sha256, "screen") is None
        await ready.put(sha256, "screen", file)
        assert await ready.has(sha256, "screen")
        assert not await ready.has(sha256, "thumb")
        assert await read(ready, sha256, "screen") == content
        assert await read(ready, sha256, EVIDENCE) is None


async def test_a_part_is_written_once_and_never_changes(ready: MediaStore, tmp_path: Path):
    sha256, file = part_file(tmp_path, b"first")
    await ready.put(sha256, "screen", file)
    _, other = part_file(tmp_path, b"other")
    await ready.put(sha256, "screen", other)
    assert await read(ready, sha256, "screen") == b"first"


async def test_many_at_once_do_not_mix(ready: MediaStore, tmp_path: Path):
    made = [part_file(tmp_path, secrets.token_bytes(100_000 + n)) for n in range(20)]
    await asyncio.gather(*(ready.put(sha256, "original", file) for sha256, file in made))
    got = await asyncio.gather(*(read(ready, sha256, "original") for sha256, _ in made))
    assert got == [file.read_bytes() for _, file in made]


@pytest.mark.parametrize("wrong", [("../../etc/passwd", "screen"), ("A" * 64, "screen"), ("a" * 64, "../x"), ("a" * 64, "")])
async def test_what_is_no_name_of_a_part_reaches_nothing(ready: MediaStore, wrong: tuple[str, str]):
    with pytest.raises(ValueError, match="not the name of a part"):
        await ready.open(*wrong)


async def test_reading_can_be_left_in_the_middle_and_begun_again(ready: MediaStore, tmp_path: Path):
    content = secrets.token_bytes(LARGE_BYTES)
    sha256, file = part_file(tmp_path, content)
    await ready.put(sha256, "original", file)
    # More often than there are connections: one that is left is given back.
    for _ in range(40):
        found = await ready.open(sha256, "original")
        assert found
        pieces = found.pieces
        assert content.startswith(await anext(aiter(pieces)))
        await pieces.aclose()  # type: ignore[attr-defined]
    assert await read(ready, sha256, "original") == content


async def test_a_bucket_that_is_not_there_or_does_not_answer_is_said_as_the_disk_s_errors_are(service: str, tmp_path: Path):
    sha256, file = part_file(tmp_path, b"photo")
    for address in (f"http://access:secret@{service}/not-there", "http://access:secret@127.0.0.1:1/photos"):
        away = shelf(tmp_path, address)
        with pytest.raises(OSError, match=r"not-there|refused"):
            await away.ready()
        with pytest.raises(OSError):
            await away.put(sha256, "screen", file)


def test_a_photo_that_is_uploaded_lies_in_the_bucket_and_is_served_from_it(start: Start, tmp_path: Path, bucket: str) -> None:
    (tmp_path / "bucket").write_text(bucket)
    server = start()
    phone = server.phone()
    content = photo(900, 700)
    assert phone.upload(content).status_code == 204
    name(server.folder, content)
    for variant, kind in (("original", "image/jpeg"), ("screen", "image/webp"), ("thumb", "image/webp")):
        answer = phone.get(content, variant)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert len(answer.content) > 100
    assert not list((server.folder / "media").rglob("*.evidence"))
    assert asyncio.run(read(shelf(tmp_path, bucket), hashlib.sha256(content).hexdigest(), EVIDENCE)) == content
    stranger = server.phone("stranger")
    assert stranger.get(content, "screen").status_code == 404
