"""QR codes as outlines: one even-odd path, so that no printer or screen shows seams between the modules."""

import qrcode
import qrcode.constants

QUIET_MODULES = 4
"""The white margin that ISO/IEC 18004 asks for on every side."""

Point = tuple[int, int]


def modules(text: str) -> list[list[bool]]:
    """The square of dark (True) and light modules without its quiet zone, at error correction Q: a quarter of the code may be dirt.
    Raises ValueError if too long."""
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_Q, border=0)
    code.add_data(text, optimize=0)
    code.make(fit=True)
    return [[bool(cell) for cell in row] for row in code.get_matrix()]


def outlines(dark: list[list[bool]]) -> list[list[Point]]:
    """The borders between dark and light as closed loops of corners (x right, y down, in modules), to be filled even-odd."""
    side = len(dark)

    def at(x: int, y: int) -> bool:
        return 0 <= x < side and 0 <= y < side and dark[y][x]

    # Every border edge runs with the dark module on its right hand; at a crossing of two dark corners the walk turns right and keeps them
    # apart.
    ahead: dict[Point, list[Point]] = {}
    for y in range(side):
        for x in range(side):
            if dark[y][x]:
                for beside, start, end in (
                    (at(x, y - 1), (x, y), (x + 1, y)),
                    (at(x + 1, y), (x + 1, y), (x + 1, y + 1)),
                    (at(x, y + 1), (x + 1, y + 1), (x, y + 1)),
                    (at(x - 1, y), (x, y + 1), (x, y)),
                ):
                    if not beside:
                        ahead.setdefault(start, []).append(end)
    loops: list[list[Point]] = []
    while ahead:
        here = start = next(iter(ahead))
        loop: list[Point] = []
        heading: Point | None = None
        while True:
            ways = ahead[here]
            right = (-heading[1], heading[0]) if heading else None
            way = next((w for w in ways if right == (w[0] - here[0], w[1] - here[1])), ways[0])
            ways.remove(way)
            if not ways:
                del ahead[here]
            turned = (way[0] - here[0], way[1] - here[1])
            if turned != heading:
                loop.append(here)
            heading, here = turned, way
            if here == start:
                break
        loops.append(loop)
    return loops


def svg_path(text: str) -> tuple[str, int]:
    """The `d` of an SVG path and the side of its square view box, quiet zone included, both in modules."""
    dark = modules(text)
    loops = outlines(dark)
    parts = ["M" + "L".join(f"{x + QUIET_MODULES} {y + QUIET_MODULES}" for x, y in loop) + "Z" for loop in loops]
    return "".join(parts), len(dark) + 2 * QUIET_MODULES
