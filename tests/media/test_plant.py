"""Photos and labels in a whole plant: the real app, real people, real ops."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator

import pypdfium2
import pytest
import zxingcpp

from backend.app import build
from backend.domains.equipment import codes
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.settings import Settings
from backend.sync.op import Add, New
from tests.api.conftest import Plant, Time, copied, made, made_on_postgres  # noqa: F401 - fixtures
from tests.media.conftest import photo

TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}


@pytest.fixture
async def plant(copied: Settings) -> AsyncIterator[Plant]:  # noqa: F811
    """A demo plant in this test's own event loop, so that a test may speak for the server."""
    settings = copied
    app = build(settings, clock := Time())
    ready, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            ready.set()
            await over.wait()

    life = asyncio.create_task(live())
    await asyncio.wait({asyncio.ensure_future(ready.wait()), life}, return_when=asyncio.FIRST_COMPLETED)
    yield Plant(app, settings, clock)
    over.set()
    await life


def machine(number: str) -> str:
    return derived(f"demo:machine:{number}")


def creation(content: bytes) -> dict[str, str]:
    sha256 = base64.b64encode(hashlib.sha256(content).hexdigest().encode()).decode()
    kind = base64.b64encode(b"image/jpeg").decode()
    return {
        **TUS,
        "Upload-Length": str(len(content)),
        "Upload-Metadata": f"sha256 {sha256},type {kind}",
    }


async def hazard(plant: Plant, content: bytes, area: str) -> None:
    """Somebody reports a hazard with a photo in its evidence."""
    value = {"sha256": hashlib.sha256(content).hexdigest(), "type": "image/jpeg", "size": len(content), "w": 640, "h": 480}
    fields = {"area": derived(f"demo:area:{area}"), "photos": [value]}
    verdicts = await plant.app.state["sync"].say(
        New(0, 0, 0, SERVER_AUTHOR, f"hazard/{derived('h' + area)}", plant.app.state["judge"].newest("hazard"), fields)
    )
    assert [verdict.state for verdict in verdicts] == ["ok"], verdicts


async def test_a_hazard_s_photo_is_on_its_way_then_there_for_those_who_hold_the_hazard_and_for_nobody_else(plant: Plant) -> None:
    content = photo()
    await hazard(plant, content, "rolling")
    at = f"/api/media/{hashlib.sha256(content).hexdigest()}/thumb"
    safety, worker = await plant.phone().sign_in("safety"), await plant.phone().sign_in("worker")
    assert (await safety.get(at)).json()["code"] == "media.on_its_way"
    assert (await worker.get(at)).json()["code"] == "media.not_found"

    nobody = plant.browser()
    made_ = await nobody.post("/api/media/uploads", headers=creation(content))
    assert made_.status_code == 201, made_.text
    assert (await nobody.patch(made_.headers["location"], headers=PATCH, content=content)).status_code == 204

    assert (await safety.get(at)).status_code == 200
    query = {"person": safety.person, "device": str(safety.number)}
    assert (await safety.client.get(at, params=query)).headers["content-type"] == "image/webp"
    assert (await worker.get(at)).status_code == 404
    assert (await nobody.get(at)).status_code == 401


def named(content: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "type": "image/jpeg", "size": len(content), "w": 640, "h": 480}


def report(plant: Plant, name: str, area: str, content: bytes) -> New:
    """A worker's own hazard that names this photo."""
    version = plant.app.state["judge"].newest("hazard")
    return New(0, 0, 0, "", f"hazard/{derived(name)}", version, {"area": derived(f"demo:area:{area}"), "photos": [named(content)]})


async def test_naming_a_photo_that_is_here_gives_nobody_a_right_to_it_that_they_had_not(plant: Plant) -> None:
    content = photo(seed=3)
    at = f"/api/media/{hashlib.sha256(content).hexdigest()}/thumb"
    await hazard(plant, content, "rolling")
    safety, worker = await plant.phone().sign_in("safety"), await plant.phone().sign_in("worker")
    begun = await plant.browser().post("/api/media/uploads", headers=creation(content))
    assert (await safety.client.patch(begun.headers["location"], headers=PATCH, content=content)).status_code == 204
    assert (await worker.get(at)).status_code == 404

    assert [v["state"] for v in await worker.push(report(plant, "mine", "steelmaking", content))] == ["ok"]
    assert (await worker.get(at)).json()["code"] == "media.not_found"
    stop = "overhead_crane.bell_lamp"
    check, newest = f"check.overhead_crane/{derived('c')}", plant.app.state["judge"].newest("check.overhead_crane")
    answer = {"item": stop, "verdict": "bad", "media": [named(content)]}
    begin = New(0, 0, 0, "", check, newest, {"machine": machine("LG-QZ-01")})
    verdicts = await worker.push(begin, Add(0, 0, 0, "", check, "answers", derived("a"), answer))
    assert [v["state"] for v in verdicts] == ["ok", "ok"], verdicts
    assert (await worker.get(at)).json()["code"] == "media.not_found"

    assert [v["state"] for v in await safety.push(report(plant, "theirs", "steelmaking", content))] == ["ok"]
    assert (await worker.get(at)).status_code == 200


async def test_a_photo_that_came_before_its_op_is_read_by_those_who_hold_its_document(plant: Plant) -> None:
    content = photo(seed=4)
    at = f"/api/media/{hashlib.sha256(content).hexdigest()}/thumb"
    worker, safety = await plant.phone().sign_in("worker"), await plant.phone().sign_in("safety")
    begun = await worker.client.post("/api/media/uploads", headers={**creation(content), **worker.headers})
    assert (await worker.client.patch(begun.headers["location"], headers=PATCH, content=content)).status_code == 204
    both = [report(plant, name, "steelmaking", content) for name in ("early", "again")]
    assert [v["state"] for v in await worker.push(*both)] == ["ok", "ok"]
    assert (await worker.get(at)).status_code == (await safety.get(at)).status_code == 200


async def test_nobody_leaves_bytes_here_that_no_op_awaits(plant: Plant) -> None:
    assert (await plant.browser().post("/api/media/uploads", headers=creation(photo(seed=8)))).json()["code"] == "media.not_awaited"
    worker = await plant.phone().sign_in("worker")
    assert (await worker.client.post("/api/media/uploads", headers={**creation(photo(seed=8)), **worker.headers})).status_code == 201


async def test_labels_of_machines_are_printed_for_whoever_manages_equipment(plant: Plant) -> None:
    admin = await plant.phone().sign_in("admin")
    numbers = ["LG-QZ-02", "MQ-GH-01", "LG-QZ-01"]
    answer = await admin.get("/api/equipment/labels.pdf", params={"machines": ",".join(machine(number) for number in numbers)})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf"), answer.text
    document = pypdfium2.PdfDocument(answer.content)
    assert len(document) == 3
    for page, number in zip(document, numbers, strict=True):
        (found,) = zxingcpp.read_barcodes(page.render(scale=203 / 72).to_pil())
        code = codes.parse(found.text)
        assert found.text == codes.url(plant.settings.public_origin, code)
        text = page.get_textpage().get_text_range()
        assert number in text
        assert codes.typed(code) in text


async def test_labels_are_refused_without_the_right_for_unknown_machines_and_for_nonsense(plant: Plant) -> None:
    admin, worker = await plant.phone().sign_in("admin"), await plant.phone().sign_in("worker")
    one = machine("LG-QZ-02")
    assert (await worker.get("/api/equipment/labels.pdf", params={"machines": one})).status_code == 403
    assert (await plant.browser().get("/api/equipment/labels.pdf", params={"machines": one})).status_code == 401
    for params, status, code in (
        ({"machines": derived("nothing")}, 404, "equipment.no_machine"),
        ({"machines": f"{one},../../etc"}, 404, "equipment.no_machine"),
        ({"machines": ""}, 400, "equipment.how_many_labels"),
        ({}, 400, "equipment.how_many_labels"),
        ({"machines": ",".join(map(str, range(501)))}, 400, "equipment.how_many_labels"),
        ({"machines": one, "size": "9x9"}, 400, "equipment.label_size"),
    ):
        answer = await admin.get("/api/equipment/labels.pdf", params=params)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_machine_without_a_tag_is_named_and_not_printed(plant: Plant) -> None:
    fields = {"number": "NEW-1", "names": {"zh": "新设备", "en": "New"}, "type": "forklift", "area": derived("demo:area:rolling")}
    new = New(0, 0, 0, SERVER_AUTHOR, f"machine/{derived('new machine')}", plant.app.state["judge"].newest("machine"), fields)
    await plant.app.state["sync"].say(new)
    admin = await plant.phone().sign_in("admin")
    answer = await admin.get("/api/equipment/labels.pdf", params={"machines": derived("new machine")})
    assert (answer.status_code, answer.json()["code"]) == (409, "equipment.no_tag")
    assert "NEW-1" in answer.json()["message"]["zh"]


async def test_blank_tags_are_made_once_and_printed(plant: Plant) -> None:
    admin, worker = await plant.phone().sign_in("admin"), await plant.phone().sign_in("worker")
    asked = {"batch": "5e0a3f64-7f0e-4a51-9b1f-3f1f0a9d2c11", "count": 4}
    assert (await worker.post("/api/equipment/tags", asked)).status_code == 403
    answer = await admin.post("/api/equipment/tags", asked)
    assert answer.status_code == 201, answer.text
    blank = answer.json()["codes"]
    assert len(set(blank)) == 4
    assert (await admin.post("/api/equipment/tags", asked)).json()["codes"] == blank
    printed = await admin.get("/api/equipment/labels.pdf", params={"tags": ",".join(blank), "size": "a4-30x20"})
    (page,) = pypdfium2.PdfDocument(printed.content)
    read = {found.text for found in zxingcpp.read_barcodes(page.render(scale=203 / 72).to_pil())}
    assert read == {codes.url(plant.settings.public_origin, code) for code in blank}
    for params, code in (
        ({"tags": "ZZZZZZZZ"}, "equipment.no_blank_tag"),
        ({"tags": ","}, "equipment.how_many_labels"),
        ({"tags": blank[0], "size": "a4-30x20", "skip": 84}, "equipment.label_place"),
        ({"tags": blank[0], "size": "a4-30x20", "dx": 21}, "equipment.label_place"),
        ({"tags": blank[0], "skip": 1}, "equipment.label_place"),
    ):
        assert (await admin.get("/api/equipment/labels.pdf", params=params)).json()["code"] == code
    for count in (0, 501):
        answer = await admin.post("/api/equipment/tags", {**asked, "count": count})
        assert answer.json()["code"] == "equipment.how_many_labels"


async def test_machines_without_a_tag_get_one_each_and_are_printed_with_their_names(plant: Plant) -> None:
    version, sync = plant.app.state["judge"].newest("machine"), plant.app.state["sync"]
    bare = [derived(f"bare machine {n}") for n in range(3)]
    for n, one in enumerate(bare):
        fields = {
            "number": f"BARE-{n}",
            "names": {"zh": "新风机", "en": "New fan"},
            "type": "forklift",
            "area": derived("demo:area:rolling"),
        }
        await sync.say(New(0, 0, 0, SERVER_AUTHOR, f"machine/{one}", version, fields))
    admin, worker = await plant.phone().sign_in("admin"), await plant.phone().sign_in("worker")
    had = machine("LG-QZ-02")
    asked = {"batch": "0d0fd5c5-6b0b-4b51-8a57-5f0d2a1c7e11", "machines": [bare[0], had, *bare[1:]]}
    assert (await worker.post("/api/equipment/tags", asked)).status_code == 403
    answer = await admin.post("/api/equipment/tags", asked)
    assert answer.status_code == 201, answer.text
    given = answer.json()["codes"]
    assert len(set(given)) == 4
    # Asked again, by the same batch or another, nothing is made: each has its tag.
    for batch in (asked["batch"], "7d0fd5c5-6b0b-4b51-8a57-5f0d2a1c7e12"):
        assert (await admin.post("/api/equipment/tags", {**asked, "batch": batch})).json()["codes"] == given
    printed = await admin.get("/api/equipment/labels.pdf", params={"machines": ",".join(asked["machines"]), "size": "a4-60x40"})
    (page,) = pypdfium2.PdfDocument(printed.content)
    read = {found.text for found in zxingcpp.read_barcodes(page.render(scale=203 / 72).to_pil())}
    assert read == {codes.url(plant.settings.public_origin, code) for code in given}
    answer = await admin.post("/api/equipment/tags", {**asked, "machines": [derived("nothing")]})
    assert answer.json()["code"] == "equipment.no_machine"


async def test_a_machine_is_found_by_the_code_of_its_tag(plant: Plant) -> None:
    from backend.demo import tag_code
    from backend.domains.equipment import queries
    from backend.sync.shapes import TxDocs

    async with plant.app.state["store"].read() as tx:
        found = await queries.machine_by_code(TxDocs(tx), tag_code("LG-QZ-02"))
        assert found is not None
        assert (found.number, found.id) == ("LG-QZ-02", machine("LG-QZ-02"))
        assert await queries.machine_by_code(TxDocs(tx), "ZZZZZZZZ") is None
