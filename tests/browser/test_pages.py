"""Pages in a real browser: accessible in both themes, silent in the console, worked by the keyboard alone."""

from __future__ import annotations

import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from sqlalchemy import select, update

from bwc.db.models import OffloadSession
from bwc.docking import emulation
from tests.browser.conftest import Opener, Site

SIGNED_IN = ("/", "/enregistrements", "/enregistrements?q=zzz", "/journal", "/cameras", "/incidents", "/conformite")
ROLES = ("responsable", "agent", "porteur", "dpo", "technicien", "maire", "inspecteur")
AXE = Axe()
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def assert_accessible(page: Page) -> None:
    results = AXE.run(page, options=RULES)
    assert results.violations_count == 0, f"{page.url}\n{results.generate_report()}"


def until(page: Page, holds: str, patience_s: float = 15.0) -> None:
    """Wait for something of the video (Playwright's own wait evaluates strings, which the page's policy forbids)."""
    deadline = time.monotonic() + patience_s
    while not page.evaluate(f"(() => {{ const it = document.querySelector('video'); return it.{holds}; }})()"):
        assert time.monotonic() < deadline, holds
        page.wait_for_timeout(50)


@pytest.mark.parametrize("scheme", ["light", "dark"])
class TestAccessible:
    @pytest.mark.parametrize("address", SIGNED_IN)
    def test_pages_of_the_head_of_service(self, visit: Opener, scheme: str, address: str) -> None:
        page = visit("responsable", scheme)
        page.goto(address)
        assert_accessible(page)

    @pytest.mark.parametrize("which", ["own", "quarantined", "erased"])
    def test_one_recording(self, visit: Opener, site: Site, scheme: str, which: str) -> None:
        page = visit("responsable", scheme)
        page.goto(f"/enregistrements/{getattr(site.world, which)}")
        assert_accessible(page)
        for folded in page.locator("details").all():
            folded.evaluate("node => { node.open = true; }")
        assert_accessible(page)

    def test_player(self, visit: Opener, site: Site, scheme: str) -> None:
        page = visit("responsable", scheme)
        page.goto(f"/enregistrements/{site.world.own}")
        page.get_by_label("Établir fidèlement").check()
        page.get_by_role("button", name="Consulter").click()
        page.wait_for_url("**/consultations/*")
        assert_accessible(page)

    @pytest.mark.parametrize("login", ROLES)
    def test_home_of_each_role(self, visit: Opener, scheme: str, login: str) -> None:
        page = visit(login, scheme)
        page.goto("/")
        assert_accessible(page)

    def test_doors_and_board(self, visit: Opener, scheme: str) -> None:
        page = visit(None, scheme)
        for address in ("/connexion", "/station", "/station?noms=0"):
            page.goto(address)
            assert_accessible(page)


class TestBoard:
    def test_follows_the_database_without_a_reload(self, visit: Opener, site: Site) -> None:
        page = visit(None, size=(1920, 1080))
        page.goto("/station")
        bay = page.locator('[data-bay="1"]')
        expect(bay).to_contain_text("Copie")
        expect(bay).to_contain_text("B. Martin")
        page.evaluate("window.stayed = true")
        with site.house.database.write() as session:
            first = session.scalars(select(OffloadSession.id).where(OffloadSession.state == "copying")).one()
            done = {"state": "done", "files_safe": 12, "bytes_done": 6_200_000_000}
            session.execute(update(OffloadSession).where(OffloadSession.id == first).values(**done))
        try:
            expect(bay).to_contain_text("PRÊTE")
            expect(bay).to_contain_text("Vous pouvez la reprendre")
            expect(bay).to_contain_text("12 fichiers en sûreté")
            expect(page.locator("#board-hint")).to_contain_text("CAM-07 (baie 1)")
            assert page.evaluate("window.stayed") is True
        finally:
            with site.house.database.write() as session:
                back = {"state": "copying", "files_safe": 8, "bytes_done": 4_400_000_000}
                session.execute(update(OffloadSession).where(OffloadSession.id == first).values(**back))
        expect(bay).to_contain_text("Copie")

    def test_names_can_be_hidden(self, visit: Opener) -> None:
        page = visit()
        page.goto("/station?noms=0")
        expect(page.locator('[data-bay="1"]')).to_contain_text("matricule 2214")
        page.wait_for_timeout(1500)
        expect(page.locator("body")).not_to_contain_text("Martin")

    def test_fits_the_screen_it_hangs_on(self, visit: Opener) -> None:
        page = visit(None, size=(1920, 1080))
        page.goto("/station")
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    def test_says_when_it_is_stale(self, visit: Opener) -> None:
        page = visit()
        page.goto("/station")
        page.route("**/station/etat.json*", lambda route: route.fulfill(status=200, body="not json"))
        expect(page.locator("#board-stale")).to_be_visible(timeout=10_000)
        expect(page.locator("#board-stale")).to_contain_text("ne sont plus à jour")
        page.unroute("**/station/etat.json*")
        expect(page.locator("#board-stale")).to_be_hidden(timeout=10_000)

    def test_demonstration_plugs_and_pulls(self, visit: Opener, site: Site) -> None:
        folder = site.house.settings.dock_folder
        page = visit()
        page.goto("/station")
        bay = page.locator('[data-bay="4"]')
        bay.get_by_label("Caméra à brancher").select_option("cam-03")
        bay.get_by_role("button", name="Brancher").click()
        page.wait_for_url("**/station")
        assert emulation.state(folder)[4] == "cam-03"
        emulation.take(folder, 4)


class TestByKeyboardAlone:
    def test_sign_in_find_consult_play(self, visit: Opener, site: Site) -> None:
        page = visit("responsable")
        page.goto(f"/enregistrements/{site.world.own}")
        page.get_by_label("Procédure judiciaire").focus()
        page.keyboard.press("Space")
        expect(page.locator("[data-need=reference]")).to_have_text("obligatoire pour ce motif")
        page.keyboard.press("Tab")
        page.keyboard.type("2026/114-PV")
        page.keyboard.press("Enter")
        page.wait_for_url("**/consultations/*")
        video = page.locator("video")
        until(page, "readyState >= 2")
        assert video.evaluate("node => node.paused")
        page.keyboard.press("Space")
        until(page, "currentTime > 0.5")
        page.keyboard.press("Space")
        at = video.evaluate("node => node.currentTime")
        page.keyboard.press(".")
        until(page, f"currentTime > {at + 0.038} && it.currentTime < {at + 0.042}")
        page.keyboard.press("ArrowLeft")
        until(page, "currentTime === 0")
        page.keyboard.press("ArrowUp")
        assert video.evaluate("node => node.playbackRate") == 1.5
        page.keyboard.press("b")
        assert video.evaluate("node => node.loop")
        expect(page.locator("#time-code")).to_have_text("00:00:00.000")
        expect(page.locator(".watermark-foot")).to_contain_text("2001")
        expect(page.locator("#remaining-left")).to_contain_text("reste 14 min")

    def test_a_broken_image_is_told_not_hidden(self, visit: Opener, site: Site) -> None:
        page = visit("agent")
        page.route("**/images/proxy", lambda route: route.fulfill(status=200, content_type="video/mp4", body="altered"))
        page.goto(f"/enregistrements/{site.world.own}")
        page.get_by_label("Établir fidèlement").check()
        page.get_by_role("button", name="Consulter").click()
        expect(page.locator("#trouble")).to_contain_text("interrompue")

    def test_focus_is_seen_and_goes_to_the_content_first(self, visit: Opener) -> None:
        page = visit("responsable")
        page.goto("/enregistrements")
        page.keyboard.press("Tab")
        expect(page.get_by_text("Aller au contenu")).to_be_focused()
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert width == "3px"

    def test_controls_have_no_trap(self, visit: Opener, site: Site) -> None:
        page = visit("responsable")
        page.goto(f"/enregistrements/{site.world.own}")
        seen = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            seen.add(page.evaluate("document.activeElement.tagName + document.activeElement.textContent.trim()"))
        assert any("Consulter" in name for name in seen)
        assert any("Toute l'inscription" in name for name in seen)


class TestTheme:
    def test_choice_is_kept_from_page_to_page(self, visit: Opener) -> None:
        page = visit("responsable")
        page.goto("/cameras")
        page.get_by_role("button", name="Thème automatique").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        assert page.url.endswith("/cameras")
        page.goto("/journal")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 31)"


class TestNothingOverflows:
    @pytest.mark.parametrize("width", [1440, 1280, 1024, 390])
    @pytest.mark.parametrize("address", SIGNED_IN)
    def test_pages_fit_their_window(self, visit: Opener, address: str, width: int) -> None:
        page = visit("responsable", size=(width, 900))
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (address, width)


def test_without_scripts_the_board_reloads_itself(chromium: object, site: Site) -> None:
    context = chromium.new_context(java_script_enabled=False, base_url=site.address)  # type: ignore[attr-defined]
    page = context.new_page()
    page.goto("/station")
    assert page.locator("noscript meta[http-equiv=refresh]").count() == 1 or "http-equiv" in page.content()
    with page.expect_navigation(timeout=6000):
        pass
    context.close()
