"""Hostile files over real HTTP: a clean refusal with a code, or a photo that is served without what rode along. The server never dies and
never grows."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from media.child import MEMORY_BYTES_MAX, Busy, Children
from tests.media import hostile
from tests.media.conftest import Server, begin_on, name, photo

FILES = hostile.all_of_them()


@pytest.fixture(scope="module")
def one_server(forge: subprocess.Popen[str], base: Path) -> Iterator[Server]:
    """One server for all of them: it has to live through the whole file."""
    server = begin_on(forge, Path(tempfile.mkdtemp(dir=base)))
    yield server
    assert server.alive
    server.kill()


def test_there_are_enough_of_them() -> None:
    assert len({content for _, content, _ in FILES}) >= 150
    assert len({title for title, _, _ in FILES}) == len(FILES)


@pytest.mark.parametrize(("content", "codes"), [(content, codes) for _, content, codes in FILES], ids=[title for title, _, _ in FILES])
def test_it_ends_as_a_refusal_with_a_code_or_as_harmless_pixels(one_server: Server, content: bytes, codes: set[str]) -> None:
    phone = one_server.phone()
    answer = phone.upload(content)
    if answer.status_code == 409:  # the same bytes were taken before
        return
    if answer.status_code != 204:
        assert answer.status_code == 422, answer.text
        assert answer.json()["code"] in codes
        assert answer.json()["message"]["zh"]
        name(one_server.folder, content)
        assert phone.get(content, "thumb").json()["code"] == "media.was_refused"
        return
    assert "ok" in codes
    name(one_server.folder, content)
    for variant in ("original", "screen", "thumb"):
        served = phone.get(content, variant)
        assert served.status_code == 200
        assert hostile.PAYLOAD not in served.content
        assert served.headers["content-type"] in ("image/jpeg", "image/webp")


def test_after_all_of_it_the_server_is_as_small_as_before_and_takes_a_photo(one_server: Server) -> None:
    assert psutil.Process(one_server.pid).memory_info().rss < 200 * 1024 * 1024
    assert one_server.phone().upload(photo(seed=77)).status_code == 204
    assert list((one_server.folder / "media" / "uploads").iterdir()) == []


async def test_no_child_takes_more_memory_or_time_than_it_may(tmp_path: Path) -> None:
    children = Children(1)
    worst = [content for title, content, _ in FILES if "million" in title or "claims" in title or "MB" in title or "scans" in title]
    assert len(worst) >= 15
    try:
        for content in worst:
            (tmp_path / "in").write_bytes(content)
            answer = await children.derive(tmp_path / "in", tmp_path)
            assert answer["memory_bytes"] <= MEMORY_BYTES_MAX
            assert answer["cpu_s"] <= 6.5
    finally:
        await children.close()


async def test_a_helper_that_dies_is_replaced_and_its_photo_is_tried_again(tmp_path: Path) -> None:
    children = Children(1)
    (tmp_path / "in").write_bytes(photo())
    try:
        assert "ok" in await children.derive(tmp_path / "in", tmp_path)
        (helper,) = [child for child in psutil.Process().children() if any("media.child" in word for word in child.cmdline())]
        helper.kill()
        helper.wait(10)
        for _ in range(3):
            try:
                answer = await children.derive(tmp_path / "in", tmp_path)
                break
            except Busy:
                continue
        assert "ok" in answer
    finally:
        await children.close()
