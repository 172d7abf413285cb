"""A tag that a phone could not read: its photo is read on the server, in a child process, by two readers."""

import io
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from backend.app import build
from backend.demo import machine_id, tag_code
from backend.domains.equipment import codes, reading
from backend.settings import Settings
from media import check
from media.codes import read
from media.codes.label import Label, pdf
from tests.api.conftest import Plant, Time, copied, made, made_on_postgres, running  # noqa: F401 - fixtures
from tests.media.conftest import photo
from tests.media.hostile import bombs, truncated

WHERE = "/api/equipment/read-tag"
CRANE = "LG-QZ-02"
URL = codes.url("https://anlu.example-steel.cn", tag_code(CRANE))


def paper(url: str = URL, size: str = "60x40") -> Image.Image:
    """A label as a printer of 203 dpi sets it."""
    code = codes.parse(url) or "K7Q29F3M"
    page = pypdfium2.PdfDocument(pdf([Label(url, codes.typed(code), CRANE, "2# 铸造起重机", "Ladle crane 2")], size))[0]
    return page.render(scale=203 / 72).to_pil().convert("RGB")


def bay(
    label: Image.Image, *, turned: float = 0, wide: int = 700, frame: tuple[int, int] = (1600, 1200), light: float = 1.0, seed: int = 1
) -> Image.Image:
    """The label on a dark, noisy plate, `wide` px across, turned by degrees, in a share of full light."""
    r = random.Random(seed)
    ground = Image.effect_noise((frame[0] // 8, frame[1] // 8), 30).resize(frame).convert("RGB")
    small = label.resize((wide, round(wide * label.height / label.width)), Image.Resampling.LANCZOS)
    mask = Image.new("L", small.size, 255).rotate(turned, expand=True)
    small = small.rotate(turned, expand=True, resample=Image.Resampling.BICUBIC)
    at = (frame[0] - small.width) // 2 + r.randint(-40, 40), (frame[1] - small.height) // 2 + r.randint(-40, 40)
    ground.paste(small, at, mask)
    return ImageEnhance.Brightness(ground).enhance(light)


def dirty(image: Image.Image, spots: int, seed: int) -> Image.Image:
    """Grease: dark spots anywhere on it."""
    r = random.Random(seed)
    out = image.copy()
    draw = ImageDraw.Draw(out)
    for _ in range(spots):
        x, y, radius = r.randrange(out.width), r.randrange(out.height), r.randint(2, max(3, out.width // 45))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(38, 30, 22))
    return out


def jpeg(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80, **options)
    return out.getvalue()


SIGHTS = {
    "as printed": lambda: paper(),
    "turned by 17°": lambda: bay(paper(), turned=17),
    "turned by 140°": lambda: bay(paper(), turned=140),
    "upside down": lambda: bay(paper(), turned=180),
    "in an eighth of the light": lambda: bay(paper(), turned=5, light=0.12),
    "greasy": lambda: bay(dirty(paper(), 14, 3), turned=-9),
    "greasy and dim": lambda: bay(dirty(paper(), 8, 3), turned=24, light=0.25),
    "out of focus": lambda: bay(paper(), turned=3).filter(ImageFilter.GaussianBlur(2)),
    "small in a picture of 12 megapixels": lambda: bay(paper(), turned=31, wide=420, frame=(4000, 3000)),
    "the smallest label": lambda: bay(paper(size="30x20"), turned=-12),
}


def on_disk(folder: Path, content: bytes) -> Path:
    file = folder / "photo"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("sight", SIGHTS)
def test_a_label_is_read_however_it_was_seen(sight: str, tmp_path: Path) -> None:
    assert read.read(on_disk(tmp_path, jpeg(SIGHTS[sight]()))) == [URL]


def test_a_picture_that_only_its_exif_turns_is_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read.read(on_disk(tmp_path, jpeg(bay(paper()).transpose(Image.Transpose.ROTATE_90), exif=exif))) == [URL]


def test_the_second_reader_reads_what_the_first_one_did_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if read.pyzbar is None:
        assert read.read(on_disk(tmp_path, jpeg(bay(paper())))) == [URL]
        return
    monkeypatch.setattr(read.zxingcpp, "read_barcodes", lambda *_, **__: [])
    assert read.read(on_disk(tmp_path, jpeg(bay(paper(), turned=8)))) == [URL]


@pytest.fixture
async def plant(copied: Settings) -> AsyncIterator[Plant]:  # noqa: F811
    app = build(copied, clock := Time())
    async with running(app):
        yield Plant(app, copied, clock)


async def test_a_worker_s_photo_gives_the_code_and_the_machine_and_is_not_kept(plant: Plant) -> None:
    worker = await plant.phone().sign_in("worker")
    answer = await worker.client.post(WHERE, content=jpeg(bay(paper(), turned=11)), headers=worker.headers)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"code": tag_code(CRANE), "machine": machine_id(CRANE)}
    assert list(plant.app.state["media"].staging.iterdir()) == []


async def test_a_tag_of_no_machine_is_read_too(plant: Plant) -> None:
    worker = await plant.phone().sign_in("worker")
    content = jpeg(bay(paper(codes.url("https://anlu.example", "ZZZZZZZZ"))))
    answer = await worker.client.post(WHERE, content=content, headers=worker.headers)
    assert answer.json() == {"code": "ZZZZZZZZ", "machine": None}


async def test_no_tag_two_tags_and_what_is_no_photo_are_refused_in_words(plant: Plant) -> None:
    worker = await plant.phone().sign_in("worker")
    two = Image.new("RGB", (1600, 700), "white")
    two.paste(paper().resize((700, 467)), (50, 100))
    two.paste(paper(codes.url("https://anlu.example", "ZZZZZZZZ")).resize((700, 467)), (850, 100))
    for content, status, code in (
        (photo(), 422, "equipment.no_tag_seen"),
        (jpeg(paper("https://elsewhere.example/x")), 422, "equipment.no_tag_seen"),
        (jpeg(two), 422, "equipment.several_tags"),
        (b"", 422, "media.not_an_image"),
        (b"<svg/>", 422, "media.not_an_image"),
        (jpeg(paper())[:900], 422, "media.broken"),
        (b"\xff\xd8\xff" + bytes(check.BYTES_MAX), 413, "http.too_large"),
    ):
        answer = await worker.client.post(WHERE, content=content, headers=worker.headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert list(plant.app.state["media"].staging.iterdir()) == []


async def test_hostile_pictures_end_in_the_child_and_the_server_goes_on(plant: Plant) -> None:
    worker = await plant.phone().sign_in("worker")
    for name, content, _ in [*list(bombs())[:6], *list(truncated())[:4]]:
        answer = await worker.client.post(WHERE, content=content, headers=worker.headers)
        assert answer.status_code in (413, 422), (name, answer.text)
    assert (await worker.client.post(WHERE, content=jpeg(paper()), headers=worker.headers)).status_code == 200


async def test_nobody_without_a_session_has_photos_read_and_nobody_has_too_many_read(plant: Plant) -> None:
    content = b"no photo"
    assert (await plant.browser().post(WHERE, content=content)).status_code == 401
    worker = await plant.phone().sign_in("worker")
    for _ in range(reading.READS_PER_PERSON_MAX):
        assert (await worker.client.post(WHERE, content=content, headers=worker.headers)).status_code == 422
    answer = await worker.client.post(WHERE, content=content, headers=worker.headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "http.rate")
    plant.clock.pass_(seconds=answer.json()["params"]["seconds"])
    assert (await worker.client.post(WHERE, content=content, headers=worker.headers)).status_code == 422
