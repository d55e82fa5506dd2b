"""What a reader may rely on when opening any file. Import directions are import-linter's (`make check`)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_tree import PACKAGES, ROOT, definitions, parsed, python_files, tracked_files, where

LONGEST = 500  # lines: an alarm, not a target; the models' median is 80 to 245
ALONE_BY_DESIGN = {"tools/verify_ledger.py"}  # one file a court's expert copies: it must not be split
CLOCK = "bwc/core/clock.py"
MIGRATIONS = "bwc/db/migrations/versions/"
MODULES = [path for path in python_files(*PACKAGES) if MIGRATIONS not in where(path)]
WRITTEN_BY_HAND = [path for path in python_files(*PACKAGES, "tools") if MIGRATIONS not in where(path)]
TOO_LARGE_TO_READ = 4 << 20  # bytes: media for tests

# Spelled in halves, so that this file does not find itself.
MACHINE_PATHS = ["/" + folder + "/" for folder in ("work", "root", "home/runner", "Users", "mnt/data")]
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "npm" + "js.com",
    "yarn" + "pkg.com",
    "crates" + ".io/api",
    "proxy." + "golang.org",
    "repo.maven" + ".apache.org",
    "anaconda" + ".org",
    "deb.debian" + ".org",
    "--index" + "-url=",
    "--extra-index" + "-url ",
]


def calls_of_the_clock(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of each look at the machine's date."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if (owner, node.attr) in {("datetime", "now"), ("datetime", "today"), ("date", "today")}:
                yield node.lineno, f"{owner}.{node.attr}"
            elif node.attr in {"utcnow", "utcfromtimestamp"}:
                yield node.lineno, node.attr


def imports_of(tree: ast.Module) -> set[str]:
    """Top names of every module imported, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the repository, by its path from the root."""
    for path in tracked_files():
        data = (ROOT / path).read_bytes() if (ROOT / path).stat().st_size <= TOO_LARGE_TO_READ else b"\0"
        if b"\0" not in data:
            yield path, data.decode("utf-8", "replace")


@pytest.mark.parametrize("path", WRITTEN_BY_HAND, ids=where)
def test_no_module_is_so_long_that_nobody_holds_it_in_mind(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines < LONGEST or where(path) in ALONE_BY_DESIGN, f"{lines} lines: divide it by what it is responsible for"


@pytest.mark.parametrize(
    "source", ["datetime.now(UTC)", "datetime.datetime.now()", "datetime.utcnow()", "date.today()"]
)
def test_the_reader_of_clocks_sees_each_way_of_asking(source: str) -> None:
    assert list(calls_of_the_clock(ast.parse(source)))
    assert not list(calls_of_the_clock(ast.parse("clock.now(); self.clock.now(); house.clock.now()")))


def test_one_module_reads_the_machines_date_and_no_other() -> None:
    found = {where(path): list(calls_of_the_clock(parsed(path))) for path in MODULES}
    assert found.pop(CLOCK)
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_what_answers_a_request_holds_no_sql() -> None:
    """Views ask the catalogue and the acts; a query in a view would be a rule nobody finds."""
    with_routes = [
        path for path in python_files("bwc/web", "integration_cpu") if "@blueprint." in path.read_text("utf-8")
    ]
    assert len(with_routes) >= 6
    for path in with_routes:
        assert "sqlalchemy" not in imports_of(parsed(path)), f"{where(path)}: move the query to bwc/catalogue"
    assert not [path for path in python_files("bwc/web") if path.name == "views.py" and path not in with_routes]


def test_templates_hold_no_query_and_no_inline_script() -> None:
    pages = sorted((ROOT / "bwc" / "web").rglob("*.html"))
    assert pages
    for path in pages:
        text = path.read_text("utf-8")
        assert not re.search(r"\bselect\(.*\bwhere\b|session\.(scalars|execute|get)\(|sqlalchemy", text), where(path)
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|\son[a-z]+\s*=\s*[\"']|javascript:", text), where(path)


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_every_module_and_every_public_name_says_what_it_is(path: Path) -> None:
    tree = parsed(path)
    if path.read_text("utf-8").strip():
        assert ast.get_docstring(tree), "the module has no docstring"
    silent = [f"{node.name} (line {node.lineno})" for node in definitions(tree) if not ast.get_docstring(node)]
    assert not silent


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = [f"{path}: {place}" for path, text in texts() for place in MACHINE_PATHS if place in text]
    assert not found


def test_no_file_names_a_package_registry() -> None:
    found = [f"{path}: {host}" for path, text in texts() for host in REGISTRIES if host in text]
    assert not found


def test_lock_files_hold_hashes_and_no_address() -> None:
    locks = [path for path in tracked_files() if path.suffix == ".lock"]
    assert {path.name for path in locks} >= {"requirements.lock", "requirements-dev.lock"}
    for path in locks:
        text = (ROOT / path).read_text("utf-8")
        assert "http" not in text, path
        assert "file://" not in text, path
        packages = re.findall(r"^([a-z0-9][\w.\[\]-]*)==", text, re.MULTILINE)
        assert packages, path
        pinned = re.findall(
            r"^[a-z0-9][\w.\[\]-]*==\S+ \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\\n|\n|\Z))+", text, re.MULTILINE
        )
        assert len(pinned) == len(packages), f"{path}: a package without hash"


def test_the_licence_is_the_one_the_project_states() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "EUROPEAN UNION PUBLIC LICENCE v. 1.2" in text
    assert [int(number) for number in re.findall(r"^(\d+)\. [A-Z]", text, re.MULTILINE)] == list(range(1, 16))
    assert 'license = "EUPL-1.2"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert "license: EUPL-1.2" in (ROOT / "publiccode.yml").read_text("utf-8")
