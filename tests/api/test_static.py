"""The app's own files: compressed at build, asked for once, found again from every address of the app."""

import gzip

import pytest

from backend.web.static import Files

INDEX = b"<!doctype html><title>Anlu</title>" + b" " * 600
SCRIPT = b"export const a = 1;\n" * 100


@pytest.fixture
def files(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_bytes(INDEX)
    (tmp_path / "index.html.gz").write_bytes(gzip.compress(INDEX))
    (tmp_path / "sw.js").write_bytes(SCRIPT)
    (tmp_path / "manifest.webmanifest").write_bytes(b"{}")
    (tmp_path / "assets" / "main-abc123.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "main-abc123.js.gz").write_bytes(gzip.compress(SCRIPT))
    (tmp_path / "assets" / "main-abc123.js.br").write_bytes(b"brotli's bytes")
    (tmp_path / "assets" / "main-abc123.js.map").write_bytes(b"{}")
    (tmp_path / "assets" / "reader.wasm").write_bytes(b"\0asm")
    return Files(tmp_path)


def ask(files, path, method="GET", **headers):
    answer = files.answer(method, path, {name.replace("_", "-"): value for name, value in headers.items()})
    return answer, {name.decode(): value.decode() for name, value in answer.headers}


def test_a_hashed_file_is_kept_for_ever_and_all_others_are_asked_for_anew(files):
    assert ask(files, "/assets/main-abc123.js")[1]["cache-control"] == "public, max-age=31536000, immutable"
    for path in ("/index.html", "/sw.js", "/manifest.webmanifest", "/"):
        assert ask(files, path)[1]["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "encoding", "content"),
    [
        ("gzip, deflate, br", "br", b"brotli's bytes"),
        ("gzip", "gzip", gzip.compress(SCRIPT)),
        ("br;q=0, gzip;q=0.5", "gzip", gzip.compress(SCRIPT)),
        ("identity", None, SCRIPT),
        ("", None, SCRIPT),
        ("*", "br", b"brotli's bytes"),
    ],
)
def test_the_browser_gets_the_smallest_form_that_it_takes(files, accepted, encoding, content):
    answer, headers = ask(files, "/assets/main-abc123.js", accept_encoding=accepted)
    assert (answer.status, headers.get("content-encoding")) == (200, encoding)
    assert answer.content[10:] == content[10:]
    assert headers["vary"] == "accept-encoding"
    assert headers["content-type"] == "text/javascript; charset=utf-8"


def test_what_the_browser_has_already_is_not_sent_again_in_any_encoding(files):
    for accepted in ("br", "gzip", "identity"):
        _, headers = ask(files, "/assets/main-abc123.js", accept_encoding=accepted)
        again, kept = ask(files, "/assets/main-abc123.js", accept_encoding="br", if_none_match=f'"x", W/{headers["etag"]}')
        assert (again.status, again.content) == (304, b"")
        assert kept["cache-control"].endswith("immutable")
    assert ask(files, "/assets/main-abc123.js", if_none_match='"other"')[0].status == 200


@pytest.mark.parametrize(
    ("wanted", "status", "content", "told"),
    [
        ("bytes=0-9", 206, SCRIPT[:10], f"bytes 0-9/{len(SCRIPT)}"),
        ("bytes=1990-", 206, SCRIPT[1990:], f"bytes 1990-{len(SCRIPT) - 1}/{len(SCRIPT)}"),
        ("bytes=-5", 206, SCRIPT[-5:], f"bytes {len(SCRIPT) - 5}-{len(SCRIPT) - 1}/{len(SCRIPT)}"),
        ("bytes=0-99999", 206, SCRIPT, f"bytes 0-{len(SCRIPT) - 1}/{len(SCRIPT)}"),
        ("bytes=99999-", 416, b"", f"bytes */{len(SCRIPT)}"),
        ("bytes=0-1,4-5", 200, SCRIPT, None),
        ("bytes=x", 200, SCRIPT, None),
        ("bytes=-", 200, SCRIPT, None),
        ("rows=0-1", 200, SCRIPT, None),
    ],
)
def test_a_part_can_be_asked_for(files, wanted, status, content, told):
    answer, headers = ask(files, "/sw.js", range=wanted, accept_encoding="")
    assert (answer.status, answer.content, headers.get("content-range")) == (status, content, told)


def test_a_part_of_another_version_comes_whole(files):
    etag = ask(files, "/sw.js")[1]["etag"]
    assert ask(files, "/sw.js", range="bytes=0-1", if_range=etag)[0].status == 206
    assert ask(files, "/sw.js", range="bytes=0-1", if_range='"older"')[0].status == 200


@pytest.mark.parametrize("path", ["/", "/t/7K3M-9QPA", "/machines/1", "/sign-in", "/k/hazard/new"])
def test_an_address_of_the_apps_own_gives_the_app(files, path):
    for headers in ({"accept": "text/html,*/*"}, {"sec_fetch_mode": "navigate"}):
        answer, told = ask(files, path, **headers)
        assert (answer.status, answer.content) == (200, INDEX)
        assert told["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    ["/assets/gone-1.js", "/nothing.js", "/../settings.py", "/assets/main-abc123.js.map", "/assets/main-abc123.js.br", "/%2e%2e/x.y"],
)
def test_what_is_not_there_is_404_in_the_one_error_shape(files, path):
    answer, headers = ask(files, path, accept="text/html")
    assert answer.status == 404
    assert b'"http.not_found"' in answer.content
    assert headers["content-type"] == "application/json"
    assert ask(files, "/somewhere", accept="image/png")[0].status == 404


def test_only_get_and_head_and_head_has_no_body(files):
    answer, headers = ask(files, "/sw.js", "HEAD")
    assert (answer.status, answer.content, headers["content-length"]) == (200, b"", str(len(SCRIPT)))
    answer, headers = ask(files, "/sw.js", "POST")
    assert (answer.status, headers["allow"]) == (405, "GET, HEAD")


def test_before_the_app_is_built_the_server_says_so(tmp_path):
    answer, _ = ask(Files(tmp_path / "none"), "/")
    assert "尚未构建".encode() in answer.content


def test_wasm_has_its_type_so_that_it_compiles_while_it_loads(files):
    assert ask(files, "/assets/reader.wasm")[1]["content-type"] == "application/wasm"
