"""What a phone's camera sees of a label: frames of our own PDF, turned, dimmed and noisy, in a file for Chromium's fake camera."""

import random
from pathlib import Path

import pypdfium2
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

WIDTH, HEIGHT = 1280, 720
LABEL_PX = 620
"""How wide the label is in the frame: about a third of a metre away from it."""


def rasterised(pdf: bytes, page: int = 0) -> Image.Image:
    """A page of a PDF, as printed on white."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        sheet = document[page]
        return sheet.render(scale=2 * LABEL_PX / sheet.get_width()).to_pil().convert("RGB")
    finally:
        document.close()


def seen(label: Image.Image, *, turned: float, light: float, blur: float = 0.8, seed: int = 1) -> Image.Image:
    """One frame: the label on a plate of steel, turned by degrees, in a share of full light."""
    r = random.Random(seed)
    frame = Image.effect_noise((WIDTH // 4, HEIGHT // 4), 40).resize((WIDTH, HEIGHT)).convert("RGB")
    small = label.resize((LABEL_PX, round(LABEL_PX * label.height / label.width)), Image.Resampling.LANCZOS)
    mask = Image.new("L", small.size, 255).rotate(turned, expand=True, resample=Image.Resampling.BILINEAR)
    small = small.rotate(turned, expand=True, resample=Image.Resampling.BILINEAR)
    place = (WIDTH - small.width) // 2 + r.randint(-20, 20), (HEIGHT - small.height) // 2 + r.randint(-10, 10)
    frame.paste(small, place, mask)
    draw = ImageDraw.Draw(frame)
    for _ in range(40):  # dust
        x, y = r.randint(0, WIDTH), r.randint(0, HEIGHT)
        draw.ellipse((x, y, x + r.randint(1, 4), y + r.randint(1, 4)), fill=(60, 50, 40))
    frame = ImageEnhance.Brightness(frame).enhance(light).filter(ImageFilter.GaussianBlur(blur))
    return Image.blend(frame, Image.effect_noise((WIDTH, HEIGHT), 30).convert("RGB"), 0.08)


def approach(label: Image.Image) -> list[Image.Image]:
    """A hand that brings the phone before the label in a dark bay."""
    return [seen(label, turned=-14 + 5 * i, light=0.42 + 0.02 * i, seed=i) for i in range(6)]


def write_y4m(path: Path, frames: list[Image.Image], fps: int = 10) -> Path:
    """Frames as raw video (YUV4MPEG2, 4:2:0), which Chromium plays in a circle as its fake camera."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            y, cb, cr = frame.convert("YCbCr").split()
            half = (WIDTH // 2, HEIGHT // 2)
            file.write(b"FRAME\n" + y.tobytes() + cb.resize(half).tobytes() + cr.resize(half).tobytes())
    return path


def photo(text: str = "钢丝绳断丝") -> bytes:
    """A photo of a rope, 12 megapixels with EXIF, as a phone's camera gives it."""
    import io

    r = random.Random(text)
    image = Image.effect_noise((1000, 750), 60).resize((4000, 3000)).convert("RGB")
    draw = ImageDraw.Draw(image)
    for i in range(60):
        x = r.randint(0, 4000)
        draw.line((x, 0, x + r.randint(-400, 400), 3000), fill=(90 + i, 80, 70), width=r.randint(4, 20))
    exif = Image.Exif()
    exif[0x010F] = "Anlu test"
    exif[0x0112] = 6  # turned by a quarter
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85, exif=exif)
    return out.getvalue()
