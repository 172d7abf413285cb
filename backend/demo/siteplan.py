"""The drawn plan of the large demo plant: works, areas, roads, rails and mains, north above."""

import lzma
import math
from functools import cache
from importlib.resources import files
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from backend.demo.plant import Area, large

WIDTH, HEIGHT = 1600, 1550
"""Pixels: one a metre."""
GROUND, ROAD, EDGE, GRASS = (236, 237, 230), (214, 214, 208), (120, 124, 126), (206, 220, 196)
WORKS = {
    "ore_plant": (224, 208, 184),
    "coke_plant": (208, 202, 198),
    "iron_plant": (238, 208, 192),
    "energy_plant": (206, 220, 232),
    "steel_plant": (240, 214, 202),
    "rolling_plant": (214, 222, 206),
    "logistics": (226, 222, 206),
}
ROADS = [
    (570, 0, 570, 1550),
    (0, 580, 1600, 580),
    (1168, 560, 1168, 1550),
    (560, 1005, 1600, 1005),
    (20, 20, 20, 1530),
    (20, 1530, 1580, 1530),
]
GAS = [(502, 1140, 502, 1165, 632, 1165, 632, 1390), (632, 1160, 720, 1160), (632, 1010, 632, 860, 940, 860, 940, 810)]


def plan_picture() -> Image.Image:
    """The picture; always the same."""
    image = Image.new("RGB", (WIDTH, HEIGHT), GRASS)
    pen = ImageDraw.Draw(image)
    pen.rectangle((12, 12, WIDTH - 12, HEIGHT - 12), fill=GROUND, outline=EDGE, width=4)
    for x0, y0, x1, y1 in ROADS:
        pen.line((x0, y0, x1, y1), fill=ROAD, width=22)
        pen.line((x0, y0, x1, y1), fill=(250, 250, 246), width=2)
    areas = large().areas
    for area in areas:
        if area.works:
            pen.rounded_rectangle(_box(area), 14, fill=WORKS[area.key], outline=(176, 170, 160), width=2)
    _rails(pen)
    for line in GAS:
        pen.line(line, fill=(196, 140, 40), width=5, joint="curve")
    for area in areas:
        if not area.works:
            _building(pen, area)
    for area in areas:
        if area.works:
            west, north, _, _ = _box(area)
            pen.text((west + 12, north + 7), f"{area.code}  {area.names.zh}", font=_font(23), fill=(84, 66, 50))
    _round_things(pen)
    _legend(pen)
    return image


def _box(area: Area) -> tuple[float, float, float, float]:
    assert area.box is not None
    west, north, east, south = area.box
    return west * WIDTH, north * HEIGHT, east * WIDTH, south * HEIGHT


def _building(pen: ImageDraw.ImageDraw, area: Area) -> None:
    west, north, east, south = _box(area)
    pen.rectangle((west + 5, north + 5, east + 5, south + 5), fill=(198, 194, 186))
    pen.rectangle((west, north, east, south), fill=(250, 249, 244), outline=EDGE, width=3)
    # A hall's roof: its ridge along the longer side.
    if east - west >= south - north:
        pen.line((west, (north + south) / 2, east, (north + south) / 2), fill=(222, 222, 216), width=2)
    else:
        pen.line(((west + east) / 2, north, (west + east) / 2, south), fill=(222, 222, 216), width=2)
    # The lower half is for the mark that shows the area and its hazards.
    size = 20 if east - west >= 24 * len(area.names.zh) else 15
    pen.text(((west + east) / 2, north + (south - north) * 0.27), area.names.zh, font=_font(size), fill=(40, 44, 48), anchor="mm")


def _rails(pen: ImageDraw.ImageDraw) -> None:
    for y in (690, 715, 740):
        pen.line((1190, y, 1590, y), fill=(150, 146, 140), width=4)
        for x in range(1190, 1590, 12):
            pen.line((x, y - 5, x, y + 5), fill=(176, 172, 166), width=2)
    way = [(440, 1020), (440, 640), (600, 628), (1180, 628), (1230, 690)]
    pen.line(way, fill=(150, 146, 140), width=4, joint="curve")


def _round_things(pen: ImageDraw.ImageDraw) -> None:
    """What is round in a steel plant: holders, furnaces, stoves, spheres, basins."""
    for x, y, r, colour in (
        (722, 1110, 20, (150, 184, 206)),
        (820, 1212, 20, (150, 184, 206)),
        (352, 1012, 15, (214, 120, 84)),
        (412, 1012, 15, (214, 120, 84)),
        *((492 + n * 14, 1028, 6, (206, 150, 120)) for n in range(3)),
        *((712 + n * 28, 1424, 11, (176, 206, 224)) for n in range(5)),
        *((1090, 1238 + n * 38, 15, (156, 196, 214)) for n in range(2)),
    ):
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=EDGE, width=2)


def _legend(pen: ImageDraw.ImageDraw) -> None:
    pen.text((70, 1512), "滨江钢铁 厂区平面图  Binjiang Steel, site plan (demo)", font=_font(20), fill=(70, 74, 78), anchor="lm")
    pen.line((1270, 1512, 1470, 1512), fill=(60, 62, 64), width=4)
    for x in (1270, 1370, 1470):
        pen.line((x, 1503, x, 1512), fill=(60, 62, 64), width=3)
    pen.text((1370, 1500), "200 m", font=_font(16), fill=(60, 62, 64), anchor="mb")
    x, y = 1535, 1495
    tips = [(x + math.sin(a) * r, y - math.cos(a) * r) for a, r in ((0, 26), (2.5, 20), (3.14, 9), (-2.5, 20))]
    pen.polygon(tips, fill=(60, 62, 64))
    pen.text((x, y - 34), "N", font=_font(18), fill=(60, 62, 64), anchor="mb")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(BytesIO(_font_bytes()), size)


@cache
def _font_bytes() -> bytes:
    """The font of the labels: it has Chinese on every machine."""
    return lzma.decompress(files("media.codes").joinpath("fonts", "NotoSansSC-SemiBold.ttf.xz").read_bytes())
