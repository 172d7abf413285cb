"""Resumable uploads over real HTTP: whatever breaks, the bytes that arrive are the bytes that were taken, once."""

import base64
import hashlib
import socket
import threading
import time

import pytest
from joserfc import jwe
from joserfc.jwk import ECKey

from backend.auth.tokens import Keys
from tests.media.conftest import Phone, Server, Start, name, photo


def test_a_photo_sent_in_one_piece_is_stored_checked_and_served(server: Server, phone: Phone) -> None:
    content = photo()
    made = phone.create(content)
    assert made.status_code == 201
    assert made.headers["upload-offset"] == "0"
    assert made.headers["tus-resumable"] == "1.0.0"
    assert made.headers["upload-expires"].endswith("GMT")
    sent = phone.patch(made.headers["location"], 0, content)
    assert (sent.status_code, sent.headers["upload-offset"]) == (204, str(len(content)))
    name(server.folder, content)
    for variant, kind, magic in (
        ("original", "image/jpeg", b"\xff\xd8\xff"),
        ("screen", "image/webp", b"RIFF"),
        ("thumb", "image/webp", b"RIFF"),
    ):
        served = phone.get(content, variant)
        assert (served.status_code, served.headers["content-type"]) == (200, kind)
        assert served.content.startswith(magic)
        assert served.headers["cache-control"] == "no-store"
        assert served.headers["x-content-type-options"] == "nosniff"
        assert int(served.headers["content-length"]) == len(served.content)
    assert evidence(server, content) == content
    assert list((server.folder / "media" / "uploads").iterdir()) == []


def test_a_photo_carried_in_a_file_is_taken_once_where_an_op_awaits_it_sealed_or_in_clear(server: Server, phone: Phone) -> None:
    keys = Keys(server.folder / "keys", 0)
    [to] = [key for key in keys.jwks()["keys"] if key["use"] == "enc"]
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": to["kid"]}
    jose = {"Content-Type": "application/jose"}
    for seed, sealed in ((71, True), (72, False)):
        content = photo(seed=seed)
        given = jwe.encrypt_compact(header, content, ECKey.import_key(to), algorithms=["ECDH-ES", "A256GCM"]) if sealed else content

        def carry(given: str | bytes = given, sealed: bool = sealed) -> tuple[int, str]:
            answer = phone.http.post("/api/media/carried", content=given, headers=jose if sealed else {})
            return answer.status_code, "" if answer.status_code == 204 else answer.json()["code"]

        # Whoever carries it may not make it theirs by bringing it: it waits for the op that names it.
        assert carry() == (401, "media.not_awaited")
        name(server.folder, content)
        assert carry() == (204, "")
        assert evidence(server, content) == content
        assert carry() == (409, "media.already_here")
    answer = phone.http.post("/api/media/carried", content="a.b.c.d.e", headers=jose)
    assert (answer.status_code, answer.json()["code"]) == (400, "sync.sealed_bundle")
    answer = phone.http.post("/api/media/carried", content=b"no photo")
    assert (answer.status_code, answer.json()["code"]) == (422, "media.not_an_image")
    assert server.phone(None).http.post("/api/media/carried", content=photo()).status_code == 401


def test_the_server_says_what_it_can_do(phone: Phone) -> None:
    said = phone.http.options("/api/media/uploads")
    assert said.status_code == 204
    assert said.headers["tus-version"] == "1.0.0"
    assert said.headers["tus-extension"] == "creation,checksum,expiration,termination"
    assert said.headers["tus-max-size"] == str(8 * 1024 * 1024)
    assert said.headers["tus-checksum-algorithm"] == "sha256,sha1"


@pytest.mark.parametrize("checked", [False, True], ids=["plain", "with a checksum that is never completed"])
def test_an_upload_cut_at_any_byte_goes_on_from_where_it_was_and_arrives_whole(server: Server, phone: Phone, checked: bool) -> None:
    for number, share in enumerate((0.0001, 0.01, 0.37, 0.5, 0.731, 0.9999)):
        content = photo(seed=100 + number + 50 * checked)
        at = phone.create(content).headers["location"]
        have = 0
        for cut in sorted({max(1, int(len(content) * share)), len(content) - 1}):
            wire = open_patch(server, at, have, content[have:], checked)
            wire.sendall(content[have:cut])
            time.sleep(0.05)
            wire.close()
            before, have = have, int(phone.offset(at).headers["upload-offset"])
            assert before <= have <= cut
        assert phone.patch(at, have, content[have:]).status_code == 204
        assert evidence(server, content) == content


@pytest.mark.parametrize("checked", [False, True], ids=["plain", "with a checksum that is never completed"])
@pytest.mark.parametrize("closed", [False, True], ids=["and its connection hangs", "and its connection ends"])
def test_a_patch_that_is_cut_keeps_what_was_written_and_the_next_one_does_not_wait_for_it(
    server: Server, phone: Phone, checked: bool, closed: bool
) -> None:
    content = photo(3000, 2500, quality=97, seed=5 + checked)
    at = phone.create(content).headers["location"]
    dead = open_patch(server, at, 0, content, checked)
    dead.sendall(content[:700_000])
    staged = server.folder / "media" / "uploads" / f"{at.rpartition('/')[2]}.bytes"
    while not staged.exists() or staged.stat().st_size < 256 * 1024:
        time.sleep(0.01)
    if closed:
        dead.close()
    written = staged.stat().st_size
    began = time.monotonic()
    have = int(phone.offset(at).headers["upload-offset"])
    assert written <= have <= 700_000
    assert time.monotonic() - began < 30, "it waited for the dead connection"
    assert phone.patch(at, have, content[have:]).status_code == 204
    dead.close()
    assert evidence(server, content) == content


def test_the_offset_survives_a_kill_of_the_server(start: Start) -> None:
    content = photo(2000, 1500)
    first = start()
    at = first.phone().create(content).headers["location"]
    half = len(content) // 2
    assert first.phone().patch(at, 0, content[:half]).headers["upload-offset"] == str(half)
    first.kill()
    second = start()
    assert second.phone().offset(at).headers["upload-offset"] == str(half)
    assert second.phone().patch(at, half, content[half:]).status_code == 204
    assert evidence(second, content) == content


def test_bytes_at_another_offset_are_refused_and_the_right_one_is_told(server: Server, phone: Phone) -> None:
    content = photo()
    at = phone.create(content).headers["location"]
    phone.patch(at, 0, content[:1000])
    for wrong in (0, 999, 1001, len(content), 10**15):
        refused = phone.patch(at, wrong, content[wrong : wrong + 10] or b"x")
        assert (refused.status_code, refused.json()["code"], refused.headers["upload-offset"]) == (409, "media.offset", "1000")
    assert phone.patch(at, 1000, content[1000:]).status_code == 204
    assert evidence(server, content) == content


def test_a_part_with_a_wrong_checksum_is_not_taken_and_can_be_sent_again(server: Server, phone: Phone) -> None:
    content = photo()
    at = phone.create(content).headers["location"]
    wrong = "sha256 " + base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    refused = phone.patch(at, 0, content[:5000], **{"Upload-Checksum": wrong})
    assert (refused.status_code, refused.json()["code"]) == (460, "media.checksum")
    assert phone.offset(at).headers["upload-offset"] == "0"
    for kind in ("sha256", "sha1"):
        have = int(phone.offset(at).headers["upload-offset"])
        part = content[have : have + 5000]
        right = f"{kind} " + base64.b64encode(hashlib.new(kind, part).digest()).decode()
        assert phone.patch(at, have, part, **{"Upload-Checksum": right}).status_code == 204
    assert phone.patch(at, 10000, content[10000:]).status_code == 204
    assert evidence(server, content) == content


def test_a_checksum_of_an_unknown_kind_or_unreadable_is_refused(phone: Phone) -> None:
    at = phone.create(photo()).headers["location"]
    for checksum in ("md5 AAAA", "sha256", "sha256 ***"):
        assert phone.patch(at, 0, b"abc", **{"Upload-Checksum": checksum}).json()["code"] == "media.checksum_kind"


def test_bytes_that_are_not_the_announced_photo_are_refused_and_the_upload_begins_anew(server: Server, phone: Phone) -> None:
    content, other = photo(seed=1), photo(seed=2)
    padded = (other + bytes(len(content)))[: len(content)]
    at = phone.create(content).headers["location"]
    refused = phone.patch(at, 0, padded)
    assert (refused.status_code, refused.json()["code"]) == (460, "media.differs")
    assert phone.offset(at).status_code == 404
    assert phone.upload(content).status_code == 204
    assert evidence(server, content) == content


def test_more_bytes_than_announced_are_refused_and_none_of_the_surplus_counts(server: Server, phone: Phone) -> None:
    content = photo()
    at = phone.create(content).headers["location"]
    refused = phone.patch(at, 0, content + b"surplus")
    assert (refused.status_code, refused.json()["code"]) == (413, "media.too_long")
    have = int(phone.offset(at).headers["upload-offset"])
    assert have < len(content)
    assert phone.patch(at, have, content[have:]).status_code == 204
    assert evidence(server, content) == content


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Upload-Length": "-1"}, 400, "http.malformed"),
        ({"Upload-Length": "1e3"}, 400, "http.malformed"),
        ({"Upload-Length": ""}, 400, "http.malformed"),
        ({"Upload-Length": "٣"}, 400, "http.malformed"),
        ({"Upload-Length": "9" * 30}, 400, "http.malformed"),
        ({"Upload-Length": "0"}, 422, "media.not_an_image"),
        ({"Upload-Length": str(8 * 1024 * 1024 + 1)}, 413, "media.too_large"),
        ({"Upload-Metadata": ""}, 400, "http.malformed"),
        ({"Upload-Metadata": "sha256 ***,type aW1hZ2UvanBlZw=="}, 400, "http.malformed"),
        ({"Upload-Metadata": "sha256 YWJj,type aW1hZ2UvanBlZw=="}, 400, "http.malformed"),
        ({"Upload-Metadata": "x" * 5000}, 400, "http.malformed"),
        ({"Tus-Resumable": "0.2.2"}, 412, "media.tus_version"),
    ],
)
def test_a_creation_that_makes_no_sense_is_refused_with_a_reason(phone: Phone, headers: dict[str, str], status: int, code: str) -> None:
    encoded = {key: value.encode() for key, value in headers.items()}
    refused = phone.create(photo(), **encoded)  # type: ignore[arg-type]
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert refused.headers["anlu-code"] == code
    assert refused.json()["message"]["zh"]
    assert refused.json()["message"]["en"]


@pytest.mark.parametrize("kind", ["image/svg+xml", "text/html", "image/gif", "application/pdf", "video/mp4", "image/jpeg; x=y"])
def test_a_declared_type_that_is_no_photo_is_refused_before_a_byte_is_sent(phone: Phone, kind: str) -> None:
    refused = phone.create(photo(), kind)
    assert (refused.status_code, refused.json()["code"]) == (415, "media.type")


def test_a_patch_of_another_content_type_is_refused(phone: Phone) -> None:
    at = phone.create(photo()).headers["location"]
    assert phone.patch(at, 0, b"abc", **{"Content-Type": "image/jpeg"}).json()["code"] == "media.patch_type"


def test_two_at_once_on_one_upload_end_with_every_byte_once(server: Server, phone: Phone) -> None:
    content = photo(3000, 2000, quality=95)
    at = phone.create(content).headers["location"]
    answers: list[int] = []

    def push(slow: bool) -> None:
        mine = server.phone()
        for _ in range(40):
            told = mine.offset(at)
            have = int(told.headers.get("upload-offset", "0"))
            if told.status_code == 200 and have == len(content):
                return
            size = 20_000 if slow else 70_000
            answers.append(mine.patch(at, have, content[have : have + size]).status_code)

    threads = [threading.Thread(target=push, args=(slow,)) for slow in (True, False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {204, 409}
    assert int(phone.offset(at).headers["upload-offset"]) == len(content)
    assert evidence(server, content) == content


def test_an_upload_given_up_is_gone(server: Server, phone: Phone) -> None:
    content = photo()
    at = phone.create(content).headers["location"]
    phone.patch(at, 0, content[:500])
    assert phone.http.delete(at, headers={"Tus-Resumable": "1.0.0"}).status_code == 204
    assert phone.offset(at).status_code == 404
    assert phone.patch(at, 500, content[500:]).json()["code"] == "media.no_upload"
    assert list((server.folder / "media" / "uploads").iterdir()) == []


def test_an_upload_older_than_its_limit_is_gone_and_its_bytes_too(server: Server, phone: Phone) -> None:
    content = photo()
    at = phone.create(content).headers["location"]
    phone.patch(at, 0, content[:500])
    (server.folder / "ahead_ms").write_text(str(72 * 3_600_000 + 1000))
    told = phone.offset(at)
    assert (told.status_code, told.headers["anlu-code"]) == (410, "media.upload_ended")
    assert phone.patch(at, 500, content[500:]).status_code == 404
    assert list((server.folder / "media" / "uploads").iterdir()) == []


def test_forgotten_uploads_are_swept_when_others_begin(server: Server, phone: Phone) -> None:
    content = photo()
    phone.patch(phone.create(content).headers["location"], 0, content[:500])
    (server.folder / "ahead_ms").write_text(str(73 * 3_600_000))
    phone.create(photo(seed=9))
    assert list((server.folder / "media" / "uploads").iterdir()) == []


def test_a_photo_that_is_already_here_is_not_sent_again(phone: Phone) -> None:
    content = photo()
    assert phone.upload(content).status_code == 204
    again = phone.create(content)
    assert (again.status_code, again.json()["code"]) == (409, "media.already_here")


def test_a_finished_upload_goes_on_saying_so(phone: Phone) -> None:
    content = photo()
    at = phone.create(content).headers["location"]
    phone.patch(at, 0, content)
    assert phone.offset(at).headers["upload-offset"] == str(len(content))
    assert phone.patch(at, len(content), b"").status_code == 204


def test_the_same_photo_from_two_phones_is_stored_once(server: Server, phone: Phone) -> None:
    content = photo()
    places = [phone.create(content).headers["location"] for _ in range(2)]
    assert [phone.patch(at, 0, content).status_code for at in places] == [204, 204]
    assert evidence(server, content) == content


def test_nets_that_know_no_patch_can_override_the_method(phone: Phone) -> None:
    content = photo()
    at = phone.create(content).headers["location"]
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
        "X-HTTP-Method-Override": "PATCH",
    }
    assert phone.http.post(at, content=content, headers=headers).status_code == 204
    assert phone.http.post(at, content=b"", headers={"Tus-Resumable": "1.0.0"}).status_code == 405


def test_without_a_session_only_what_an_op_awaits_is_taken(server: Server) -> None:
    nobody = server.phone(None)
    content = photo()
    refused = nobody.create(content)
    assert (refused.status_code, refused.json()["code"]) == (401, "media.not_awaited")
    name(server.folder, content)
    assert nobody.upload(content).status_code == 204
    assert server.phone().get(content, "thumb").status_code == 200


def test_one_photo_cannot_be_used_to_fill_the_table_of_uploads(server: Server) -> None:
    content = photo()
    name(server.folder, content)
    answers = [server.phone(None).create(content).status_code for _ in range(10)]
    assert answers == [201] * 8 + [429] * 2


def test_a_stored_photo_is_not_there_for_whoever_has_no_right_to_a_document_that_names_it(server: Server, phone: Phone) -> None:
    content = photo()
    phone.upload(content)
    name(server.folder, content)
    unknown = phone.http.get(f"/api/media/{'0' * 64}/thumb")
    stranger = server.phone("stranger").get(content, "thumb")
    assert (stranger.status_code, stranger.json()) == (unknown.status_code, unknown.json())
    assert stranger.json()["code"] == "media.not_found"
    assert server.phone(None).get(content, "thumb").status_code == 401
    assert phone.get(content, "evidence").status_code == 404
    assert phone.http.get(f"/api/media/{'../' * 3}etc/passwd/thumb").status_code == 404


def test_a_photo_that_no_document_names_is_not_there_even_for_its_uploader(phone: Phone) -> None:
    content = photo()
    phone.upload(content)
    assert phone.get(content, "thumb").json()["code"] == "media.not_found"


def test_a_named_photo_whose_bytes_are_not_here_is_on_its_way(server: Server, phone: Phone) -> None:
    content = photo()
    name(server.folder, content)
    assert (phone.get(content, "thumb").status_code, phone.get(content, "thumb").json()["code"]) == (404, "media.on_its_way")
    phone.upload(content)
    assert phone.get(content, "thumb").status_code == 200


def test_a_request_of_another_person_than_the_cookie_is_refused(server: Server, phone: Phone) -> None:
    content = photo()
    assert phone.http.get(f"/api/media/{hashlib.sha256(content).hexdigest()}/thumb", headers={"Anlu-Person": "stranger"}).status_code == 409


def test_mutated_requests_get_clean_answers_and_never_an_error_of_ours(phone: Phone) -> None:
    content = photo()
    at = phone.create(content).headers["location"]
    for offset in ("", "-1", "1.0", "0x10", "1" * 40):
        headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream"}
        assert phone.http.patch(at, content=b"abc", headers=headers).status_code in (400, 409)
    for path in ("/api/media/uploads/%00", "/api/media/uploads/" + "a" * 3000, "/api/media/x/y", f"/api/media/{'A' * 64}/thumb"):
        for method in ("GET", "HEAD", "PATCH", "POST", "DELETE", "PUT"):
            assert phone.http.request(method, path, headers={"Tus-Resumable": "1.0.0"}).status_code < 500


# Below: a phone's socket, so that a test decides which byte is the last.


def open_patch(server: Server, at: str, offset: int, rest: bytes, checked: bool) -> socket.socket:
    """Begin to send the rest: the head is sent, no byte of it yet."""
    checksum = "Upload-Checksum: sha256 " + base64.b64encode(hashlib.sha256(rest).digest()).decode() + "\r\n" if checked else ""
    wire = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    wire.sendall(
        (
            f"PATCH {at} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n{checksum}"
            f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(rest)}\r\n\r\n"
        ).encode()
    )
    return wire


def evidence(server: Server, content: bytes) -> bytes:
    sha256 = hashlib.sha256(content).hexdigest()
    return (server.folder / "media" / sha256[:2] / sha256[2:4] / f"{sha256}.evidence").read_bytes()
