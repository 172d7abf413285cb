"""One demo plant for all browser tests, and phones on it. A test that breaks a plant starts its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.e2e.camera import approach, rasterised, write_y4m
from tests.e2e.harness import Phone, Plant, launch, phone
from tests.e2e.plants import Crane, cranes, label_of


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    started = Plant(tmp_path_factory.mktemp("plant")).start()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def camera(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first crane's label before the camera."""
    return write_y4m(tmp_path_factory.mktemp("camera") / "label.y4m", approach(rasterised(label_of(plant)[1])))


@pytest.fixture(scope="session")
def browser(playwright: Playwright, camera: Path) -> Iterator[Browser]:
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


@pytest.fixture(scope="session")
def all_cranes(plant: Plant) -> list[Crane]:
    return cranes(plant)
