"""The product's own files, for tests that read them instead of running them."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bwc", "integration_cpu")


def python_files(*folders: str) -> list[Path]:
    """Every module under the folders, sorted."""
    return sorted(
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts
    )


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text("utf-8"), filename=str(path))


@cache
def tracked_files() -> tuple[Path, ...]:
    """Files git tracks, or would track: everything it does not ignore. Paths from the root."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = (name for name in listing.stdout.decode().split("\0") if name)
    return tuple(sorted(path for name in names if (path := Path(name)) and (ROOT / path).is_file()))


def where(path: Path) -> str:
    """A path from the root, as a person reads it."""
    return path.relative_to(ROOT).as_posix()


def pytest_names(path: Path) -> set[str]:
    """`function` and `Class::function` of every test a file defines."""
    found: set[str] = set()
    for node in parsed(path).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return {name for name in found if name.rsplit("::", 1)[-1].startswith("test_")}


def missing_test(node_id: str) -> str | None:
    """Why a pytest node id of the form `file::function` or `file::Class::function` names nothing; None when it does."""
    file, _, name = node_id.partition("::")
    path = ROOT / file
    if not path.is_file():
        return f"{node_id}: there is no {file}"
    return None if name in pytest_names(path) else f"{node_id}: {file} has no test of that name"


def node_ids(text: str) -> list[str]:
    """Every pytest node id a text cites."""
    return re.findall(r"tests/[\w/]+\.py::\w+(?:::\w+)?", text)


def definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Public functions and classes of a module, and public methods of its public classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (one for one in node.body if isinstance(one, kinds) and not one.name.startswith("_"))
