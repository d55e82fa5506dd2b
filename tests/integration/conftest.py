"""A migrated database of each kind, fresh for every test: copied from a template migrated once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from bwc.core.clock import SettableClock
from bwc.db.engine import Database
from bwc.db.schema import upgrade
from bwc.installation import Installation, initialise
from bwc.settings import Settings
from bwc.town import read_demonstration
from factories import ROOT
from tests.servers import throwaway_postgres

_numbers = count()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with throwaway_postgres(tmp_path_factory.getbasetemp()) as url:
        yield url


def _command(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def _migrate(url: str) -> None:
    database = Database(url)
    upgrade(database)
    database.close()


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    _command(postgres_url, "CREATE DATABASE bwc_template")
    _migrate(make_url(postgres_url).set(database="bwc_template").render_as_string(hide_password=False))
    return "bwc_template"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "bwc.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    path = shutil.copy(sqlite_template, tmp_path / "bwc.db")
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def postgres_database(postgres_url: str, postgres_template: str) -> Iterator[Database]:
    name = f"bwc_{next(_numbers)}"
    _command(postgres_url, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    database = Database(make_url(postgres_url).set(database=name).render_as_string(hide_password=False))
    yield database
    database.close()
    _command(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue("sqlite_database" if request.param == "sqlite" else "postgres_database")
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that says ON_BOTH_DATABASES runs its tests on SQLite and on PostgreSQL."""
    if "house" in metafunc.fixturenames and getattr(metafunc.module, "ON_BOTH_DATABASES", False):
        metafunc.parametrize("house", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def house(request: pytest.FixtureRequest, settings: Settings, clock: SettableClock) -> Iterator[Installation]:
    """An initialised installation with the demonstration's people and cameras."""
    if getattr(request, "param", "sqlite") == "postgresql":
        url = request.getfixturevalue("postgres_database").url.render_as_string(hide_password=False)
        settings = settings.model_copy(update={"database_url": url})
    opened = initialise(settings, demonstration=read_demonstration(ROOT / "config" / "demonstration.toml"), clock=clock)
    opened.vault._reserve = 0
    yield opened
    opened.close()
