"""The photos of a demo plant, drawn: nobody took them, and no stock of pictures is needed.

Each shows one thing with what is wrong about it, or put right, in a hall that its seed furnishes: wall, light, angle and sizes differ, the
same seed gives the same bytes. Run as a program it draws a list of shots into a folder, apart from the server, which loads no Pillow:

    python -m backend.demo.pictures FOLDER FIRST STEP < shots.json      draws shots FIRST, FIRST + STEP, … and says each one's facts

A shot's file is named by its place in the list, `0007.jpg`. The shot named `plan` is the plant's drawing (`backend.demo.siteplan`).
"""

import hashlib
import io
import math
import random
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from backend.demo.shots import Fact, Shot
from backend.demo.siteplan import plan_picture

WIDTH, HEIGHT = 640, 480
QUALITY = 66
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

WALLS: list[tuple[Colour, Colour]] = [
    ((58, 66, 74), (142, 150, 154)),
    ((74, 68, 60), (168, 156, 138)),
    ((44, 52, 58), (112, 124, 128)),
    ((86, 92, 92), (178, 184, 180)),
    ((60, 58, 66), (138, 130, 134)),
]
FLOORS: list[Colour] = [(96, 94, 90), (84, 78, 70), (110, 108, 104), (72, 74, 78)]
YELLOW, RED, GREEN, BLUE, STEEL, DARK, RUST = (
    (214, 170, 32),
    (186, 44, 34),
    (52, 128, 74),
    (48, 92, 150),
    (136, 142, 146),
    (38, 40, 42),
    (128, 78, 48),
)


class Scene:
    """A picture under way. `chance` furnishes it; `wrong`: the fault is there; `floor`: where the floor begins, in pixels from above."""

    def __init__(self, shot: Shot) -> None:
        self.wrong = shot.wrong
        # What is put right is seen in the same place as what was wrong: the fault draws no lots before all else is furnished.
        self.chance = random.Random(f"{shot.scene}/{shot.seed}")  # noqa: S311 - a demo's variety, not a secret
        self.floor = self.chance.randint(250, 330)
        self.image = self._hall()
        self.pen = ImageDraw.Draw(self.image)

    def _hall(self) -> Image.Image:
        chance = self.chance
        dark, light = chance.choice(WALLS)
        wall = ImageOps.colorize(Image.linear_gradient("L").resize((WIDTH, HEIGHT)), light, dark)
        pen = ImageDraw.Draw(wall)
        for x in range(chance.randint(-40, 0), WIDTH, chance.randint(70, 130)):
            pen.line((x, 0, x, self.floor), fill=shade(dark, 1.15), width=2)
        for _ in range(chance.randint(0, 2)):
            x = chance.randint(20, WIDTH - 60)
            pen.rectangle((x, 0, x + 34, self.floor), fill=shade(dark, 0.8))
            pen.rectangle((x + 6, 0, x + 28, self.floor), fill=shade(dark, 1.05))
        for _ in range(chance.randint(0, 3)):
            y = chance.randint(12, self.floor - 120)
            colour = chance.choice([STEEL, (150, 120, 60), (96, 116, 128), (120, 60, 50)])
            pen.rectangle((0, y, WIDTH, y + 12), fill=colour)
            pen.line((0, y + 3, WIDTH, y + 3), fill=shade(colour, 1.3), width=2)
        ground = chance.choice(FLOORS)
        pen.rectangle((0, self.floor, WIDTH, HEIGHT), fill=ground)
        vanish = chance.randint(200, 440)
        for x in range(-600, WIDTH + 600, 120):
            pen.line((vanish + (x - vanish) * 0.35, self.floor, x, HEIGHT), fill=shade(ground, 0.86), width=2)
        for _ in range(60):
            x, y = chance.randint(0, WIDTH), chance.randint(self.floor, HEIGHT)
            pen.ellipse((x, y, x + chance.randint(2, 16), y + chance.randint(1, 5)), fill=shade(ground, chance.uniform(0.8, 1.1)))
        return wall

    def about(self, x: float, y: float) -> tuple[float, float]:
        """A place near this one."""
        return x + self.chance.randint(-60, 60), y + self.chance.randint(-25, 25)

    def bolts(self, box: Box, lacking: int = 0) -> None:
        x0, y0, x1, y1 = box
        for n, (x, y) in enumerate(((x0, y0), (x1, y0), (x1, y1), (x0, y1))):
            gone = n < lacking
            self.pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=DARK if gone else STEEL, outline=(20, 20, 20))

    def stripes(self, box: Box) -> None:
        """Yellow and black, as edges are marked."""
        x0, y0, x1, y1 = map(int, box)
        self.pen.rectangle(box, fill=YELLOW)
        for x in range(x0 - (y1 - y0), x1, 26):
            self.pen.polygon(
                [(max(x, x0), y1), (min(x + 13, x1), y1), (min(x + 13 + y1 - y0, x1), y0), (min(max(x + y1 - y0, x0), x1), y0)], fill=DARK
            )

    def pool(self, colour: Colour, x: float, y: float, width: float) -> None:
        """Something spilt."""
        for n in range(9):
            dx, w = self.chance.uniform(-0.45, 0.45) * width, width * self.chance.uniform(0.25, 0.6)
            self.pen.ellipse((x + dx - w / 2, y - w * 0.13 + n, x + dx + w / 2, y + w * 0.13 + n), fill=colour)
        self.pen.arc((x - width * 0.3, y - 10, x + width * 0.25, y + 12), 180, 300, fill=shade(colour, 1.7), width=3)

    def finished(self) -> bytes:
        """As a phone takes it: not quite level, not quite sharp, with the light from one side."""
        chance, image = self.chance, self.image
        turn = math.radians(chance.uniform(-2.5, 2.5))
        cos, sin = math.cos(turn) * 0.95, math.sin(turn) * 0.95
        x, y = WIDTH / 2, HEIGHT / 2
        about = (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)
        image = image.transform(image.size, Image.Transform.AFFINE, about, Image.Resampling.BILINEAR)
        image = image.filter(ImageFilter.BoxBlur(chance.uniform(0.5, 0.9)))
        left, top = chance.randint(150, WIDTH - 150), chance.randint(100, HEIGHT - 100)
        image = ImageChops.multiply(image, _light().crop((left, top, left + WIDTH, top + HEIGHT)))
        left, top = chance.randint(0, WIDTH), chance.randint(0, HEIGHT)
        return encoded(ImageChops.add(image, _grain().crop((left, top, left + WIDTH, top + HEIGHT)), 1, -24), QUALITY)


@cache
def _light() -> Image.Image:
    """Light that falls off to the sides, a little warm; four times as large as a photo."""
    glow = ImageOps.invert(Image.radial_gradient("L")).resize((WIDTH * 2, HEIGHT * 2)).point(lambda v: 110 + v * 0.62)
    return Image.merge("RGB", (glow, glow.point(lambda v: v * 0.985), glow.point(lambda v: v * 0.955)))


@cache
def _grain() -> Image.Image:
    """What a cheap camera adds in bad light."""
    dots = random.Random("grain").randbytes(WIDTH * HEIGHT)  # noqa: S311 - as above
    grain = Image.frombytes("L", (WIDTH, HEIGHT), dots).point(lambda v: 16 + v // 16)
    return Image.merge("RGB", [grain.resize((WIDTH * 2, HEIGHT * 2), Image.Resampling.BILINEAR)] * 3)


def shade(colour: Colour, by: float) -> Colour:
    """Lighter (above 1) or darker."""
    red, green, blue = (max(0, min(255, int(part * by))) for part in colour)
    return red, green, blue


def encoded(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


# What is seen.


def rope(s: Scene) -> None:
    x, _ = s.about(300, 0)
    width = s.chance.randint(30, 46)
    slant = s.chance.randint(-60, 60)
    s.pen.polygon([(x, 0), (x + width, 0), (x + width + slant, HEIGHT), (x + slant, HEIGHT)], fill=(112, 108, 100))
    for n in range(0, HEIGHT + 60, 13):
        at = x + slant * n / HEIGHT
        s.pen.line((at, n, at + width, n - 20), fill=(66, 62, 56), width=3)
        s.pen.line((at, n + 4, at + width, n - 16), fill=(160, 156, 146), width=2)
    at_y = s.chance.randint(190, 280)
    if s.wrong:
        for _ in range(11):
            side = s.chance.choice((0, width))
            begin = (x + slant * at_y / HEIGHT + side, at_y + s.chance.randint(-26, 26))
            s.pen.line(
                (*begin, begin[0] + (26 if side else -26) + s.chance.randint(-8, 8), begin[1] + s.chance.randint(-34, 6)),
                fill=(186, 178, 160),
                width=2,
            )
        s.pen.ellipse((x + slant * at_y / HEIGHT - 58, at_y - 62, x + slant * at_y / HEIGHT + width + 58, at_y + 62), outline=RED, width=5)


def hook(s: Scene) -> None:
    x, y = s.about(320, 60)
    s.pen.rectangle((x - 46, y - 60, x + 46, y + 50), fill=YELLOW, outline=DARK, width=3)
    s.pen.ellipse((x - 26, y - 40, x + 26, y + 12), fill=DARK)
    s.pen.rectangle((x - 13, y + 50, x + 13, y + 110), fill=(90, 92, 94))
    s.pen.arc((x - 66, y + 90, x + 66, y + 222), 300, 210, fill=(78, 80, 82), width=30)
    if s.wrong:
        s.pen.ellipse((x - 24, s.floor + 48, x + 26, s.floor + 66), fill=(40, 36, 34))
        s.pen.rectangle((x - 10, s.floor - 6, x + 12, s.floor + 54), fill=(44, 74, 128))
        s.pen.ellipse((x - 11, s.floor - 32, x + 13, s.floor - 6), fill=(196, 152, 30))
    else:
        s.pen.line((x - 58, y + 130, x - 20, y + 104), fill=STEEL, width=9)
        s.stripes((0, s.floor + 60, WIDTH, s.floor + 78))


def wheel(s: Scene) -> None:
    x, y = s.about(320, 300)
    r = s.chance.randint(105, 140)
    s.pen.ellipse((x - r, y - r, x + r, y + r), fill=(44, 44, 44))
    s.pen.ellipse((x - r * 0.62, y - r * 0.62, x + r * 0.62, y + r * 0.62), fill=s.chance.choice([(170, 130, 40), STEEL, (150, 60, 50)]))
    for n in range(6):
        a = n * math.pi / 3
        bx, by = x + math.cos(a) * r * 0.4, y + math.sin(a) * r * 0.4
        gone = s.wrong and n in (1, 2)
        s.pen.ellipse((bx - 11, by - 11, bx + 11, by + 11), fill=DARK if gone else (204, 206, 206))
    s.pen.ellipse((x - 22, y - 22, x + 22, y + 22), fill=(70, 70, 72))
    if s.wrong:
        a = s.chance.uniform(3.6, 5.6)
        tx, ty = x + math.cos(a) * r, y + math.sin(a) * r
        s.pen.polygon([(tx - 26, ty - 14), (tx + 20, ty - 22), (tx + 6, ty + 26)], fill=(150, 140, 128))


def gauge(s: Scene) -> None:
    x, y = s.about(320, 190)
    r = s.chance.randint(100, 126)
    s.pen.rectangle((x - 14, y + r - 8, x + 14, HEIGHT), fill=(120, 118, 112))
    s.pen.ellipse((x - r, y - r, x + r, y + r), fill=(196, 198, 196), outline=DARK, width=9)
    s.pen.ellipse((x - r + 14, y - r + 14, x + r - 14, y + r - 14), fill=(238, 238, 230))
    s.pen.arc((x - r + 26, y - r + 26, x + r - 26, y + r - 26), 135, 195, fill=RED, width=12)
    s.pen.arc((x - r + 26, y - r + 26, x + r - 26, y + r - 26), 195, 345, fill=GREEN, width=12)
    s.pen.arc((x - r + 26, y - r + 26, x + r - 26, y + r - 26), 345, 405, fill=RED, width=12)
    for n in range(11):
        a = math.radians(135 + n * 27)
        s.pen.line(
            (x + math.cos(a) * r * 0.62, y + math.sin(a) * r * 0.62, x + math.cos(a) * r * 0.72, y + math.sin(a) * r * 0.72),
            fill=DARK,
            width=3,
        )
    needle = math.radians(s.chance.uniform(142, 180) if s.wrong else s.chance.uniform(240, 310))
    s.pen.line((x, y, x + math.cos(needle) * r * 0.66, y + math.sin(needle) * r * 0.66), fill=(20, 20, 20), width=6)
    s.pen.ellipse((x - 10, y - 10, x + 10, y + 10), fill=(20, 20, 20))


def leak(s: Scene) -> None:
    x, y = s.about(320, 190)
    colour = s.chance.choice([(116, 124, 128), (158, 128, 56), (90, 112, 96)])
    h = s.chance.randint(34, 50)
    s.pen.rectangle((0, y - h, WIDTH, y + h), fill=colour)
    s.pen.rectangle((0, y - h * 0.7, WIDTH, y - h * 0.4), fill=shade(colour, 1.3))
    for side in (-18, 18):
        s.pen.rectangle((x + side - 14, y - h - 26, x + side + 14, y + h + 26), fill=shade(colour, 0.8), outline=DARK, width=2)
    for n in range(4):
        s.pen.rectangle((x - 38, y - h - 18 + n * (h * 2 + 20) / 3, x + 38, y - h - 8 + n * (h * 2 + 20) / 3), fill=STEEL)
    if s.wrong:
        for n in range(14):
            s.pen.ellipse((x - 8 + n % 3 * 6, y + h + 26 + n * 16, x + n % 3 * 6, y + h + 38 + n * 16), fill=(176, 196, 206))
        s.pool((104, 118, 124), x, max(y + h + 150, s.floor + 70), 230)
        for n in range(18):
            s.pen.ellipse(
                (x - 34 + n * 4, y + h + 10 - n % 5 * 7, x - 22 + n * 4, y + h + 22 - n % 5 * 7), outline=(222, 228, 230), width=2
            )
    else:
        s.pen.rectangle((x - 60, y + h + 34, x + 60, y + h + 64), fill=(232, 226, 200), outline=DARK)
        s.pen.line((x - 44, y + h + 49, x + 40, y + h + 49), fill=DARK, width=3)


def floor(s: Scene) -> None:
    s.stripes((0, s.floor + 18, WIDTH, s.floor + 34))
    if s.wrong:
        for _ in range(70):
            x, y = s.chance.gauss(330, 110), s.chance.uniform(s.floor + 30, HEIGHT - 20)
            r = s.chance.uniform(4, 20)
            s.pen.ellipse(
                (x - r, y - r * 0.5, x + r, y + r * 0.5),
                fill=shade(s.chance.choice([(112, 84, 56), (70, 66, 62), (140, 128, 110)]), s.chance.uniform(0.7, 1.2)),
            )
    else:
        s.pen.line((60, HEIGHT, 190, s.floor + 36), fill=(232, 232, 224), width=9)
        s.pen.line((WIDTH - 60, HEIGHT, WIDTH - 190, s.floor + 36), fill=(232, 232, 224), width=9)


def puddle(s: Scene) -> None:
    x, y = s.about(320, s.floor + 85)
    s.pen.rectangle((x - 70, s.floor - 40, x + 70, s.floor + 4), fill=RUST)
    if s.wrong:
        s.pool((88, 108, 120), x, y, 380)
        s.pool((112, 136, 148), x - 30, y - 6, 210)
    else:
        for _ in range(240):
            px, py = s.chance.gauss(x, 90), s.chance.gauss(y, 18)
            s.pen.ellipse((px, py, px + 5, py + 3), fill=(182, 160, 116))


def oil(s: Scene) -> None:
    x, y = s.about(320, s.floor + 80)
    s.pen.rectangle((x - 120, s.floor - 130, x + 60, s.floor + 10), fill=(62, 92, 76), outline=DARK, width=3)
    s.pen.ellipse((x - 90, s.floor - 100, x - 20, s.floor - 30), fill=(96, 122, 104), outline=DARK, width=4)
    s.pen.line((x + 60, s.floor - 70, x + 200, s.floor - 70, x + 240, s.floor - 10), fill=DARK, width=13)
    if s.wrong:
        s.pool((30, 26, 20), x + 40, y, 330)
        s.pool((58, 48, 30), x + 20, y - 4, 150)
    else:
        for _ in range(260):
            px, py = s.chance.gauss(x + 40, 95), s.chance.gauss(y, 16)
            s.pen.ellipse((px, py, px + 6, py + 3), fill=(196, 168, 110))


def rail(s: Scene) -> None:
    y = s.floor - s.chance.randint(120, 150)
    gap = s.chance.randint(1, 3)
    for n in range(6):
        x = 20 + n * 122
        if not (s.wrong and n == gap):
            s.pen.rectangle((x, y, x + 13, s.floor + 40), fill=YELLOW, outline=(120, 92, 10))
    for level in (0, 56):
        for n in range(5):
            if s.wrong and n in (gap - 1, gap) and (level == 0 or n == gap):
                continue
            s.pen.rectangle((20 + n * 122, y + level, 20 + n * 122 + 134, y + level + 11), fill=YELLOW, outline=(120, 92, 10))
    if s.wrong:
        x = 20 + gap * 122
        s.pen.polygon([(x - 100, s.floor + 40), (x + 130, s.floor + 40), (x + 190, HEIGHT), (x - 160, HEIGHT)], fill=(26, 28, 30))
        s.pen.line((x - 90, y + 20, x - 40, s.floor + 30), fill=YELLOW, width=10)
    else:
        s.stripes((0, s.floor + 34, WIDTH, s.floor + 52))


def cover(s: Scene) -> None:
    x, y = s.about(320, s.floor + 80)
    hole = [(x - 120, y - 36), (x + 120, y - 36), (x + 160, y + 44), (x - 160, y + 44)]
    if s.wrong:
        s.pen.polygon(hole, fill=(14, 14, 16), outline=RUST)
        s.pen.line((x - 150, y + 40, x + 150, y + 40), fill=(70, 66, 60), width=6)
        s.pen.polygon([(x + 150, y - 60), (x + 270, y - 40), (x + 250, y + 60), (x + 140, y + 30)], fill=(110, 104, 96), outline=DARK)
    else:
        s.pen.polygon(hole, fill=(122, 116, 108), outline=DARK)
        for n in range(-7, 8):
            s.pen.line((x + n * 16, y - 34, x + n * 21, y + 42), fill=(88, 84, 78), width=3)
        s.stripes((x - 165, y + 48, x + 165, y + 60))


def extinguisher(s: Scene) -> None:
    x, _ = s.about(320, 0)
    for n in range(s.chance.randint(1, 2)):
        at = x + n * 120 - 40
        s.pen.rounded_rectangle((at - 36, s.floor - 150, at + 36, s.floor + 60), 26, fill=RED, outline=(90, 14, 10), width=3)
        s.pen.rectangle((at - 12, s.floor - 180, at + 12, s.floor - 148), fill=DARK)
        s.pen.line((at + 8, s.floor - 176, at + 56, s.floor - 150, at + 50, s.floor - 40), fill=DARK, width=9)
        s.pen.rectangle((at - 26, s.floor - 90, at + 26, s.floor - 20), fill=(236, 230, 220))
        s.pen.ellipse((at - 18, s.floor - 138, at + 18, s.floor - 102), fill=(240, 240, 236), outline=DARK, width=2)
        a = math.radians(200 if s.wrong else 275)
        s.pen.arc((at - 14, s.floor - 134, at + 14, s.floor - 106), 240, 310, fill=GREEN, width=4)
        s.pen.line((at, s.floor - 120, at + math.cos(a) * 14, s.floor - 120 + math.sin(a) * 14), fill=DARK, width=3)
    if s.wrong and s.chance.random() < 0.5:
        s.pen.rectangle((x - 150, s.floor - 40, x + 40, s.floor + 110), fill=(146, 108, 66), outline=(84, 58, 30), width=4)
        s.pen.line((x - 150, s.floor + 30, x + 40, s.floor + 30), fill=(84, 58, 30), width=4)


def cabinet(s: Scene) -> None:
    x, _ = s.about(300, 0)
    y0, y1 = s.floor - 220, s.floor + 50
    s.pen.rectangle((x - 100, y0, x + 100, y1), fill=(168, 172, 168), outline=DARK, width=4)
    if s.wrong:
        s.pen.rectangle((x - 84, y0 + 18, x + 84, y1 - 16), fill=(44, 46, 48))
        for n in range(5):
            s.pen.rectangle((x - 70 + n * 29, y0 + 50, x - 48 + n * 29, y0 + 104), fill=(206, 206, 200))
        for n in range(9):
            colour = s.chance.choice([RED, YELLOW, GREEN, BLUE])
            s.pen.line((x - 62 + n * 14, y0 + 104, x - 70 + n * 17, y0 + 170, x - 40 + n * 9, y1 - 16), fill=colour, width=4)
        s.pen.polygon([(x + 100, y0), (x + 190, y0 + 30), (x + 190, y1 + 26), (x + 100, y1)], fill=(140, 144, 142), outline=DARK)
    else:
        s.pen.rectangle((x - 84, y0 + 18, x + 84, y1 - 16), outline=(110, 114, 112), width=3)
        s.pen.rectangle((x + 62, y0 + 110, x + 72, y0 + 150), fill=DARK)
    s.pen.polygon([(x - 20, y0 + 44 - 100), (x + 14, y0 + 44 - 100), (x - 3, y0 + 16 - 100)], fill=YELLOW, outline=DARK)


def cable(s: Scene) -> None:
    colour = s.chance.choice([(30, 30, 32), (170, 96, 24), (40, 70, 120)])
    y = s.floor + 80
    points = [(n * 40, y + math.sin(n * 0.7 + s.chance.random()) * (34 if s.wrong else 4)) for n in range(-1, 18)]
    if not s.wrong:
        points = [(px, py - 190) for px, py in points]
        for n in range(5):
            s.pen.rectangle((40 + n * 140, y - 206, 58 + n * 140, y - 120), fill=STEEL)
    s.pen.line(points, fill=colour, width=12, joint="curve")
    if s.wrong:
        px, py = points[8]
        s.pen.line((px - 16, py - 2, px + 20, py + 3), fill=(196, 120, 60), width=9)
        s.pen.ellipse((px - 56, py - 50, px + 60, py + 54), outline=RED, width=5)


def belt(s: Scene) -> None:
    y = s.chance.randint(180, 230)
    s.pen.polygon([(0, y - 20), (WIDTH, y - 70), (WIDTH, y + 10), (0, y + 74)], fill=(36, 36, 38))
    for n in range(7):
        x = n * 104 + 20
        top = y + 60 - n * 9
        s.pen.rectangle((x, top, x + 16, HEIGHT), fill=(104, 108, 110))
        bad = s.wrong and n == 3
        s.pen.ellipse((x - 26, top - 14, x + 44, top + 22), fill=RUST if bad else STEEL, outline=DARK, width=2)
    for _ in range(120 if s.wrong else 40):
        across = s.chance.uniform(0, WIDTH)
        level = y - 30 - across * 0.06 + s.chance.uniform(-6, 20)
        s.pen.ellipse((across, level, across + 13, level + 9), fill=shade((64, 52, 46), s.chance.uniform(0.7, 1.3)))
    if s.wrong:
        for _ in range(90):
            px, py = s.chance.gauss(350, 80), s.chance.uniform(s.floor + 20, HEIGHT)
            s.pen.ellipse((px, py, px + 16, py + 9), fill=shade((64, 52, 46), s.chance.uniform(0.7, 1.3)))


def detector(s: Scene) -> None:
    x, y = s.about(320, 230)
    s.pen.rounded_rectangle(
        (x - 84, y - 130, x + 84, y + 150), 26, fill=s.chance.choice([YELLOW, (206, 104, 30), (60, 66, 70)]), outline=DARK, width=5
    )
    lit = (196, 60, 44) if s.wrong else (172, 198, 168)
    s.pen.rectangle((x - 60, y - 90, x + 60, y - 4), fill=lit, outline=DARK, width=3)
    digits = s.chance.choice(["36", "Err", "41", "LO"]) if s.wrong else s.chance.choice(["0", "0", "2", "1"])
    s.pen.text((x - 46, y - 82), "CO", fill=DARK, font_size=22)
    s.pen.text((x - 20, y - 66), digits, fill=DARK, font_size=52)
    for n in range(3):
        s.pen.ellipse((x - 58 + n * 44, y + 40, x - 30 + n * 44, y + 68), fill=(40, 42, 44))
    s.pen.ellipse((x - 12, y - 120, x + 12, y - 98), fill=RED if s.wrong else (70, 20, 18))


def lamp(s: Scene) -> None:
    for n in range(3):
        x, y = 90 + n * 210 + s.chance.randint(-20, 20), 60 + s.chance.randint(-14, 14)
        off = s.wrong and n != 1
        s.pen.line((x, 0, x, y), fill=DARK, width=6)
        s.pen.polygon([(x - 60, y + 46), (x + 60, y + 46), (x + 26, y), (x - 26, y)], fill=(84, 88, 90), outline=DARK)
        s.pen.ellipse((x - 46, y + 34, x + 46, y + 62), fill=(56, 56, 52) if off else (255, 246, 206))
        if not off:
            beam = Image.new("L", (WIDTH, HEIGHT), 0)
            ImageDraw.Draw(beam).polygon([(x - 46, y + 50), (x + 46, y + 50), (x + 190, HEIGHT), (x - 190, HEIGHT)], fill=66)
            s.image.paste((255, 244, 206), mask=beam.filter(ImageFilter.GaussianBlur(14)))
    s.pen = ImageDraw.Draw(s.image)


def lane(s: Scene) -> None:
    s.pen.polygon([(170, s.floor), (470, s.floor), (620, HEIGHT), (20, HEIGHT)], fill=(70, 104, 84))
    s.pen.line((170, s.floor, 20, HEIGHT), fill=YELLOW, width=11)
    s.pen.line((470, s.floor, 620, HEIGHT), fill=YELLOW, width=11)
    if s.wrong:
        for n in range(s.chance.randint(3, 5)):
            x, y = s.chance.randint(150, 400), s.floor - 70 + n * 32
            w, h = s.chance.randint(70, 130), s.chance.randint(50, 84)
            colour = s.chance.choice([(150, 112, 68), (120, 124, 126), (96, 72, 50), (60, 84, 116)])
            s.pen.rectangle((x, y, x + w, y + h), fill=colour, outline=shade(colour, 0.5), width=3)
            s.pen.line((x, y + h / 2, x + w, y + h / 2), fill=shade(colour, 0.6), width=3)


def brick(s: Scene) -> None:
    gone = {(s.chance.randint(3, 6), s.chance.randint(2, 5)) for _ in range(4)}
    for row in range(9):
        for column in range(11):
            x, y = column * 66 - (row % 2) * 33 - 10, row * 40 + 30
            glow = 1 + (row - 4) * 0.05
            colour = shade((150, 92, 62), glow * s.chance.uniform(0.82, 1.12))
            if s.wrong and (column, row) in gone | {(c + 1, r) for c, r in gone}:
                colour = shade((224, 104, 40), s.chance.uniform(0.8, 1.1))
            s.pen.rectangle((x, y, x + 62, y + 36), fill=colour, outline=(72, 50, 38), width=2)


def track(s: Scene) -> None:
    s.pen.rectangle((0, s.floor - 40, WIDTH, HEIGHT), fill=(102, 98, 92))
    for _ in range(500):
        x, y = s.chance.randint(0, WIDTH), s.chance.randint(s.floor - 40, HEIGHT)
        s.pen.ellipse((x, y, x + 9, y + 6), fill=shade((118, 112, 104), s.chance.uniform(0.6, 1.25)))
    for n in range(9):
        top = s.floor - 30 + n * n * 3.4
        half = 60 + n * n * 3.6
        s.pen.rectangle((320 - half, top, 320 + half, top + 5 + n * 1.5), fill=(76, 64, 54))
    for side in (-1, 1):
        s.pen.polygon(
            [(320 + side * 40, s.floor - 40), (320 + side * 46, s.floor - 40), (320 + side * 240, HEIGHT), (320 + side * 210, HEIGHT)],
            fill=(150, 152, 152),
        )
    if s.wrong:
        for n in range(5):
            x, y = s.chance.randint(230, 400), s.floor + 30 + n * 24
            s.pen.polygon([(x, y), (x + 46, y - 16), (x + 66, y + 14), (x + 10, y + 30)], fill=shade(RUST, s.chance.uniform(0.7, 1.2)))


def sign(s: Scene) -> None:
    x, y = s.about(320, 170)
    hung = [(x - 100, y + 90), (x + 100, y + 90), (x, y - 90)]
    points = [(x - 90, y + 120), (x + 60, y + 150), (x + 20, y + 10)] if s.wrong else hung
    fade = 0.72 if s.wrong else 1.0
    s.pen.polygon(points, fill=shade(YELLOW, fade), outline=DARK)
    s.pen.line([*points, points[0]], fill=DARK, width=9)
    mx, my = sum(p[0] for p in points) / 3, sum(p[1] for p in points) / 3
    s.pen.rectangle((mx - 7, my - 40, mx + 7, my + 12), fill=DARK)
    s.pen.ellipse((mx - 8, my + 20, mx + 8, my + 36), fill=DARK)
    if s.wrong:
        for _ in range(30):
            px, py = s.chance.gauss(mx, 40), s.chance.gauss(my, 34)
            s.pen.ellipse((px, py, px + 15, py + 10), fill=shade(RUST, s.chance.uniform(0.6, 1.1)))


def bottle(s: Scene) -> None:
    x, _ = s.about(300, 0)
    for n, colour in enumerate(((110, 156, 190), (226, 222, 214))):
        at = x + n * (70 if s.wrong else 190) - 60
        s.pen.rounded_rectangle((at - 26, s.floor - 190, at + 26, s.floor + 64), 24, fill=colour, outline=DARK, width=3)
        s.pen.rectangle((at - 9, s.floor - 216, at + 9, s.floor - 186), fill=(150, 120, 50))
        s.pen.line((at + 8, s.floor - 204, at + 60, s.floor - 150, at + 110, s.floor + 90), fill=RED if n else BLUE, width=6)
    if not s.wrong:
        s.pen.line((x - 120, s.floor - 90, x + 190, s.floor - 90), fill=(196, 196, 190), width=7)


def plate(s: Scene) -> None:
    x, y = s.about(320, 210)
    box = (x - 150, y - 90, x + 150, y + 96)
    s.pen.rectangle(
        (x - 210, y - 150, x + 210, y + 160), fill=s.chance.choice([(76, 104, 92), (120, 124, 126), (70, 84, 110), (150, 128, 60)])
    )
    s.pen.rectangle(box, fill=(214, 214, 206), outline=DARK, width=3)
    s.bolts((x - 138, y - 78, x + 138, y + 84))
    for n in range(5):
        s.pen.rectangle((x - 118, y - 52 + n * 25, x - 60, y - 42 + n * 25), fill=(92, 92, 92))
        s.pen.rectangle((x - 46, y - 52 + n * 25, x - 46 + s.chance.randint(60, 130), y - 42 + n * 25), fill=(60, 62, 64))
    s.pen.ellipse((x + 74, y - 62, x + 126, y - 10), fill=RED if s.wrong else GREEN)
    if s.wrong:
        for _ in range(60):
            px, py = s.chance.gauss(x, 70), s.chance.gauss(y + 10, 40)
            s.pen.ellipse((px, py, px + 24, py + 15), fill=shade((92, 74, 58), s.chance.uniform(0.6, 1.1)))


_ALL = (rope, hook, wheel, gauge, leak, floor, puddle, oil, rail, cover, extinguisher, cabinet, cable, belt, detector, lamp, lane, brick)
SCENES: dict[str, Callable[[Scene], None]] = {one.__name__: one for one in (*_ALL, track, sign, bottle, plate)}


def draw(shot: Shot) -> tuple[bytes, int, int]:
    """A shot's JPEG, its width and height in pixels."""
    if shot.scene == "plan":
        image = plan_picture()
        return encoded(image, 88), *image.size
    scene = Scene(shot)
    SCENES[shot.scene](scene)
    return scene.finished(), WIDTH, HEIGHT


def main(arguments: list[str]) -> None:
    folder, first, step = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    shots = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Shot])
    for n in range(first, len(shots), step):
        content, width, height = draw(shots[n])
        path = folder / f"{n:04}.jpg"
        part = path.with_suffix(".part")
        part.write_bytes(content)
        part.replace(path)
        fact = Fact(n, hashlib.sha256(content).hexdigest(), len(content), width, height)
        sys.stdout.buffer.write(msgspec.json.encode(fact) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
