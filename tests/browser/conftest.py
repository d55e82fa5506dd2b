"""A town at work behind a real server, and Chromium before it. One of each for the whole session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, sync_playwright
from werkzeug.serving import make_server

from bwc.core.clock import SettableClock
from bwc.docking import emulation
from bwc.installation import Installation, initialise
from bwc.settings import Settings
from bwc.town import read_demonstration
from bwc.web import web_app
from tests.browser.world import PASSWORD, World, settle
from tests.factories import NOW, ROOT

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=user-gesture-required",
]


@dataclass
class Site:
    """A served town: its address, its house, what was put in it."""

    address: str
    house: Installation
    world: World
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("town")
    settings = Settings(data=folder / "data", root_key_file=folder / "root.key", town=ROOT / "config" / "valence.toml")
    clock = SettableClock(NOW)
    people = read_demonstration(ROOT / "config" / "demonstration.toml")
    house = initialise(settings, demonstration=people, clock=clock)
    house.vault._reserve = 0
    world = settle(house, clock)
    _emulated_cameras(settings.dock_folder)
    server = make_server("127.0.0.1", 0, web_app(house), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Site(f"http://127.0.0.1:{server.server_port}", house, world)
    server.shutdown()
    thread.join(10)
    server.server_close()
    house.close()


def _emulated_cameras(folder: Path) -> None:
    for name in ("cam-03", "cam-07"):
        emulation.describe(
            folder, name, emulation.CameraSpec(f"{name}.img", 0x1234, 1, name, "Caméra", "Démonstration")
        )


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail("Chromium is missing: sudo apt-get install -y chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def states(chromium: Browser, site: Site) -> dict[str, dict[str, object]]:
    """Cookies of who signed in already, by login; filled as asked."""
    return {}


Opener = Callable[..., Page]


@pytest.fixture
def visit(chromium: Browser, site: Site, states: dict[str, dict[str, object]]) -> Iterator[Opener]:
    """Open a page as somebody (nobody by default); the test fails if any page complains in its console."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(login: str | None = None, scheme: str = "light", size: tuple[int, int] = (1440, 900)) -> Page:
        context = chromium.new_context(
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": size[0], "height": size[1]},
            locale="fr-FR",
            base_url=site.address,
            storage_state=states.get(login or ""),  # type: ignore[arg-type]
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: _note(complaints, message))
        page.on("pageerror", lambda error: complaints.append(_words(error)))
        if login and login not in states:
            sign_in(page, login)
            states[login] = context.storage_state()  # type: ignore[assignment]
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def sign_in(page: Page, login: str) -> None:
    """Sign in by hand."""
    page.goto("/connexion")
    page.get_by_label("Identifiant").fill(login)
    page.get_by_label("Mot de passe").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")


def _note(complaints: list[str], message: ConsoleMessage) -> None:
    if message.type in {"error", "warning"}:
        complaints.append(message.text)


def _words(error: Error) -> str:
    return str(error)
