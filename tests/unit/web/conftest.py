"""One lightly furnished house for all the tests of a module, and the application over it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from bwc.core.clock import SettableClock
from bwc.installation import Installation, initialise
from bwc.settings import Settings
from bwc.town import read_demonstration
from bwc.web import web_app
from tests.browser.world import World, settle_lightly
from tests.factories import NOW, ROOT


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("house")
    settings = Settings(data=folder / "data", root_key_file=folder / "root.key", town=ROOT / "config" / "valence.toml")
    people = read_demonstration(ROOT / "config" / "demonstration.toml")
    house = initialise(settings, demonstration=people, clock=SettableClock(NOW))
    house.vault._reserve = 0
    yield house
    house.close()


@pytest.fixture(scope="module")
def shared_world(shared_house: Installation) -> World:
    return settle_lightly(shared_house)


@pytest.fixture(scope="module")
def shared_app(shared_house: Installation, shared_world: World) -> Flask:
    app = web_app(shared_house)
    app.testing = True
    return app
