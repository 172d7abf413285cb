"""A demo plant for each file of browser tests, and phones on it: what one file does to its machines no other file sees."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.e2e.camera import approach, rasterised, write_y4m
from tests.e2e.harness import Phone, Plant, launch, phone
from tests.e2e.plants import Crane, cranes, known, label_of


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    started = Plant(tmp_path_factory.mktemp("plant")).start()
    yield started
    started.stop()
    # The next plant may stand on the same port.
    known.cache_clear()


@pytest.fixture(scope="module")
def browser(
    request: pytest.FixtureRequest, playwright: Playwright, plant: Plant, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """Holds the first crane's label before its camera, unless the file says `CAMERA = False`: its tags are typed then."""
    camera = None
    if getattr(request.module, "CAMERA", True):
        camera = write_y4m(tmp_path_factory.mktemp("camera") / "label.y4m", approach(rasterised(label_of(plant)[1])))
    running = launch(playwright, camera)
    yield running
    running.close()


@pytest.fixture
def new_phone(browser: Browser, plant: Plant) -> Iterator[Callable[..., Phone]]:
    """Makes phones: each with its own storage, nobody signed in. A script error on any of them fails the test."""
    with ExitStack() as stack:
        held: list[Phone] = []

        def make(**options: Any) -> Phone:
            held.append(stack.enter_context(phone(browser, plant.origin, **options)))
            return held[-1]

        yield make
        assert [error for one in held for error in one.errors] == []


@pytest.fixture(scope="module")
def all_cranes(plant: Plant) -> list[Crane]:
    return cranes(plant)
