"""Every item of a checklist has its picture, drawn so that it serves both languages and both themes."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DRAWN = ROOT / "pwa/src/domains/equipment/pictograms"
COLOURS = {"var(--ink)", "var(--quiet)", "var(--orange)", "var(--accent)", "var(--sunk)", "none"}
NAMED = sorted(
    {
        item["pictogram"]
        for file in (ROOT / "backend/domains/equipment/kinds").glob("check.*.yaml")
        for item in (yaml.safe_load(file.read_text("utf-8")).get("items") or [])
    }
)


def test_every_picture_that_a_checklist_names_is_drawn_and_no_other() -> None:
    assert len(NAMED) >= 18
    assert sorted(file.stem for file in DRAWN.glob("*.svg")) == NAMED


@pytest.mark.parametrize("name", NAMED)
def test_a_picture_has_our_colours_and_no_words(name: str) -> None:
    text = (DRAWN / f"{name}.svg").read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert root.get("viewBox") == "0 0 360 240"
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "g", "path", "rect", "circle", "clipPath"}
    assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', text)) <= COLOURS
    assert not re.search(r"style=|href|on\w+=", text)
    assert len(text) < 4_000
