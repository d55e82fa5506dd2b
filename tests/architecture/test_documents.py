"""Documents that say what the code does: every setting, command and path they name is held against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from source_tree import ROOT, missing_test, node_ids, tracked_files

from bwc.cli import dock, evidence, install, ledger, run
from bwc.cli.main import bwc
from bwc.rules.access import MOTIVES, Permission, Role
from bwc.settings import Settings

DOCUMENTS = [ROOT / path for path in tracked_files() if path.suffix == ".md"]
BUILT_BY_USE = ("var/", "build/", "docs/img/")
# Libraries that recognise people, or exist to. Design: no face, person, attribute or behaviour search.
RECOGNISERS = {
    "deepface", "dlib", "face-recognition", "facenet-pytorch", "insightface", "mediapipe", "open-clip-torch",
    "opencv-python", "opencv-python-headless", "retina-face", "supervision", "tensorflow", "torch", "torchreid",
    "torchvision", "ultralytics",
}  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, as `bwc up` registers them."""
    for module in (run, install, dock, evidence, ledger):
        module.register(bwc)

    def below(prefix: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            for name, inner in sorted(command.commands.items()):
                yield from below(f"{prefix} {name}", inner)
        else:
            yield prefix, command

    yield from below("bwc", bwc)


COMMANDS = dict(commands())


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_every_setting_is_described(field: str) -> None:
    assert f"| `BWC_{field.upper()}` |" in text_of("docs/configuration.md")


def test_no_setting_is_described_that_does_not_exist() -> None:
    named = set(re.findall(r"^\| `BWC_(\w+)` \|", text_of("docs/configuration.md"), re.MULTILINE))
    assert named == {field.upper() for field in Settings.model_fields}


def test_the_defaults_of_the_settings_are_the_ones_described() -> None:
    page = text_of("docs/configuration.md")
    for name, field in Settings.model_fields.items():
        shown = re.search(rf"^\| `BWC_{name.upper()}` \| (.*?) \|", page, re.MULTILINE)
        assert shown is not None
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        assert shown[1] == (f"`{default}`" if default else "empty")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_each_of_its_options_is_described(name: str) -> None:
    rows = [line for line in text_of("docs/cli.md").splitlines() if re.match(rf"\| `{name}[ `]", line)]
    assert len(rows) == 1
    for parameter in COMMANDS[name].params:
        wanted = parameter.opts[0] if isinstance(parameter, click.Option) else str(parameter.name).upper()
        assert wanted in rows[0], f"docs/cli.md does not say {wanted} of {name}"


def test_no_command_is_described_that_does_not_exist() -> None:
    described = re.findall(r"^\| `(bwc(?: [a-z]+)+)", text_of("docs/cli.md"), re.MULTILINE)
    assert set(described) == set(COMMANDS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_test_a_document_cites_exists(path: Path) -> None:
    assert [fault for fault in map(missing_test, node_ids(path.read_text("utf-8"))) if fault] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_of_a_document_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_file_a_document_names_is_there(path: Path) -> None:
    """A path in backquotes from the root: `bwc/…`, `tests/…`, `docs/…`, `tools/…`, `config/…`."""
    named = re.findall(
        r"`((?:bwc|tests|docs|tools|config|integration_cpu)/[\w./-]*(?:\.\w+|/))`", path.read_text("utf-8")
    )
    for name in named:
        if not name.startswith(BUILT_BY_USE) and "ma-ville" not in name:
            beside = path.parent / name  # in a guide, a name may be the operator's own folder
            assert (ROOT / name).exists() or beside.exists(), name


def test_decisions_are_numbered_without_gap_and_listed() -> None:
    folder = ROOT / "docs" / "adr"
    found = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in found] == list(range(1, len(found) + 1))
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", text_of("docs/adr/README.md"))
    assert listed == found
    for name in found:
        text = (folder / name).read_text("utf-8")
        assert text.startswith(f"# {name[:4]} — ")
        assert all(part in text for part in ("**Context.**", "**Decision", "**Consequences.**")) or name.startswith(
            "0008"
        )


def test_the_nine_invariants_each_cite_a_test() -> None:
    rows = re.findall(r"^\| (\d) \| \*\*.+$", text_of("docs/architecture.md"), re.MULTILINE)
    assert rows == list("123456789")
    lines = re.findall(r"^\| \d \| \*\*.+$", text_of("docs/architecture.md"), re.MULTILINE)
    assert all(node_ids(line) for line in lines)


def test_every_module_of_the_house_is_in_the_picture() -> None:
    page = text_of("docs/architecture.md")
    parts = {path.name for path in (ROOT / "bwc").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    for name in sorted(parts):
        assert f"[bwc.{name}<br/>" in page, f"docs/architecture.md: bwc.{name} is missing from the diagram"
        assert f"bwc/{name}/`" in page, f"docs/architecture.md: bwc/{name}/ is missing from the table"
    for name in ("consultation", "erasure", "verification", "installation", "town", "people"):
        assert f"[bwc.{name}<br/>" in page
        assert f"`bwc/{name}.py`" in page


def test_the_guide_names_every_function_a_person_may_have_and_every_motive() -> None:
    assert all(f"`{role}`" in text_of("docs/cli.md") for role in Role)
    page = text_of("docs/guide/superviseur.md")
    for motive in MOTIVES:
        line = next((line for line in page.splitlines() if line.startswith(f"| {motive.label} |")), "")
        assert line.endswith("| oui |" if motive.wearer else "| non |"), motive.label


def test_every_page_of_the_guide_is_reached_from_its_index() -> None:
    pages = {path.name for path in (ROOT / "docs" / "guide").glob("*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\]\((\w+\.md)\)", text_of("docs/guide/index.md")))


def test_no_library_that_recognises_people_is_locked() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        locked = set(re.findall(r"^([a-z0-9][\w.-]*)==", text_of(lock), re.MULTILINE))
        assert locked
        assert not locked & RECOGNISERS


def test_no_permission_speaks_of_looking_for_people() -> None:
    assert not [one for one in Permission if re.search(r"face|biometr|search|track|behaviou?r", one.value)]


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    from bwc import __version__

    assert f'version = "{__version__}"' in text_of("pyproject.toml")
    assert f"softwareVersion: {__version__}" in text_of("publiccode.yml")
    assert __version__ in text_of("CHANGELOG.md")
