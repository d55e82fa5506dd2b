"""What every test may ask for: a clock that stands still, and an installation of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bwc.core.clock import SettableClock
from bwc.installation import Installation, initialise
from bwc.settings import Settings
from bwc.town import read_demonstration
from factories import NOW, ROOT


@pytest.fixture(autouse=True)
def default_logs() -> Iterator[None]:
    """A command that set the log's level in this process leaves the next test as it was."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", root_key_file=tmp_path / "root.key", town=ROOT / "config" / "valence.toml")


@pytest.fixture
def house(settings: Settings, clock: SettableClock) -> Iterator[Installation]:
    """An initialised installation with the demonstration's people and cameras, on SQLite."""
    opened = initialise(settings, demonstration=read_demonstration(ROOT / "config" / "demonstration.toml"), clock=clock)
    opened.vault._reserve = 0
    yield opened
    opened.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: nothing is left out silently."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
