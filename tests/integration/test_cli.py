"""The `bwc` command as typed: what it prints, what it changes, the code it leaves with."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from bwc.cli import main as command
from bwc.cli.supervisor import environment
from bwc.core.clock import SettableClock
from bwc.installation import Installation
from bwc.settings import Settings
from factories import recording, take


@pytest.fixture
def bwc(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Runs `bwc` with these arguments; gives (exit code, standard output, standard error)."""
    for name, value in environment(settings).items():
        if name.startswith("BWC_"):
            monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bwc", *arguments])
        code: object = 0
        capsys.readouterr()  # what the test itself logged before is not the command's
        try:
            command()
        except SystemExit as left:
            code = left.code or 0
        out, err = capsys.readouterr()
        return int(str(code)), out, err

    return run


def test_without_an_installation_it_says_what_to_type(bwc) -> None:  # type: ignore[no-untyped-def]
    code, _, err = bwc("recordings")
    assert code == 7
    assert "lancez « bwc init »" in err


def test_init_makes_an_installation_and_a_second_init_changes_nothing(bwc, settings: Settings) -> None:  # type: ignore[no-untyped-def]
    assert bwc("init")[0] == 0
    key = settings.root_key_file.read_text()
    assert settings.root_key_file.stat().st_mode & 0o777 == 0o600
    assert bwc("init")[0] == 0
    assert settings.root_key_file.read_text() == key
    assert bwc("ledger", "verify")[0] == 0


def test_a_missing_root_key_is_never_replaced(bwc, settings: Settings) -> None:  # type: ignore[no-untyped-def]
    bwc("init")
    settings.root_key_file.unlink()
    code, _, err = bwc("init")
    assert code == 7
    assert "clé racine est introuvable" in err
    assert not settings.root_key_file.exists()


def test_a_root_key_others_can_read_is_refused(bwc, settings: Settings) -> None:  # type: ignore[no-untyped-def]
    bwc("init")
    settings.root_key_file.chmod(0o644)
    code, _, err = bwc("recordings")
    assert code == 7
    assert "chmod 600" in err


def test_a_root_key_inside_the_data_folder_is_refused(bwc, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("BWC_ROOT_KEY_FILE", str(settings.data / "root.key"))
    code, _, err = bwc("init")
    assert code == 7
    assert "ne doit pas se trouver dans le dossier des données" in err


def test_a_wrong_town_file_names_its_wrong_line(bwc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    wrong = tmp_path / "town.toml"
    wrong.write_text('[town]\nname = "X"\n')
    monkeypatch.setenv("BWC_TOWN", str(wrong))
    code, _, err = bwc("init")
    assert code == 7
    assert "town.siret" in err


def test_recordings_lists_facts_and_no_image(bwc, house: Installation) -> None:  # type: ignore[no-untyped-def]
    taken = take(house)
    code, out, _ = bwc("recordings", "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert row["id"] == taken.recording_id
    assert row["sha256"] == taken.sha256
    assert "CAM-07" in bwc("recordings")[1]


def test_erase_shows_before_it_erases(
    bwc, house: Installation, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    taken = take(house)
    monkeypatch.setattr("bwc.installation.SystemClock", lambda: clock)
    clock.advance(timedelta(days=31))
    code, _, err = bwc("erase", "--due")
    assert code == 6
    assert "bwc clock confirm" in err
    assert bwc("clock", "confirm")[0] == 0
    code, out, _ = bwc("erase", "--due", "--dry-run")
    assert code == 0
    assert taken.recording_id in out
    assert recording(house, taken.recording_id).state == "held"
    assert "1 enregistrement(s) effacés" in bwc("erase", "--due")[1]
    assert recording(house, taken.recording_id).state == "erased"


def test_erase_has_no_other_way_than_the_term(bwc, house: Installation) -> None:  # type: ignore[no-untyped-def]
    take(house)
    assert bwc("erase")[0] == 2
    assert "0 enregistrement(s) effacés" in bwc("erase", "--due")[1]


def test_verify_leaves_with_four_and_names_an_altered_recording(bwc, house: Installation) -> None:  # type: ignore[no-untyped-def]
    taken = take(house)
    assert bwc("verify")[0] == 0
    (path,) = house.settings.vault_folder.glob("??/*.bwc")
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    code, out, _ = bwc("verify")
    assert code == 4
    assert taken.recording_id in out


@pytest.mark.parametrize("share", ["30/30", "x", "1", "-1/30", "1/0"])
def test_a_share_that_is_none_is_refused(bwc, house: Installation, share: str) -> None:  # type: ignore[no-untyped-def]
    assert bwc("verify", "--share", share)[0] == 2


def test_ledger_verify_leaves_with_four_and_names_the_changed_row(bwc, house: Installation) -> None:  # type: ignore[no-untyped-def]
    take(house)
    house.publish_checkpoint()
    assert bwc("ledger", "verify")[0] == 0
    with house.database.write() as session:
        session.execute(text("DROP TRIGGER journal_entry_no_update"))
        session.execute(text("UPDATE journal_entry SET action = 'recording.viewed' WHERE seq = 1"))
    code, out, _ = bwc("ledger", "verify")
    assert code == 4
    assert "1" in out
    report = json.loads(bwc("ledger", "verify", "--json")[1])
    assert report["first_bad"] == 1


def test_ledger_export_refuses_to_overwrite_and_is_verified_by_the_tool(
    bwc, house: Installation, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    import subprocess
    import sys

    from factories import ROOT

    take(house)
    house.publish_checkpoint()
    out = tmp_path / "ledger.jsonl"
    assert bwc("ledger", "export", str(out))[0] == 0
    assert bwc("ledger", "export", str(out))[0] != 0
    tool = ROOT / "tools" / "verify_ledger.py"
    folder = str(house.settings.checkpoint_folder)
    done = subprocess.run(
        [sys.executable, "-I", str(tool), "--export", str(out), "--checkpoints", folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_person_is_added_once_and_the_password_shown_once(bwc, house: Installation) -> None:  # type: ignore[no-untyped-def]
    arguments = ("person", "add", "--matricule", "3001", "--last-name", "Blanc", "--first-name", "Zoé")
    code, out, _ = bwc(*arguments, "--role", "responsable", "--login", "zoe")
    assert code == 0
    assert "Mot de passe : " in out
    code, _, err = bwc(*arguments, "--role", "responsable", "--login", "zoe2")
    assert code == 2
    assert "existe déjà" in err


def test_people_without_a_login_are_added_one_after_the_other(bwc, house: Installation) -> None:  # type: ignore[no-untyped-def]
    for matricule in ("3101", "3102"):
        arguments = ("person", "add", "--matricule", matricule, "--last-name", "Noir", "--first-name", "Ali")
        assert bwc(*arguments, "--role", "porteur")[0] == 0


def test_a_habilitation_act_opens_and_closes_access_by_its_dates(bwc, house: Installation) -> None:  # type: ignore[no-untyped-def]
    from bwc.consultation import viewer_of
    from bwc.rules.access import has_ground
    from factories import NOW, person

    arguments = ("person", "add", "--matricule", "3201", "--last-name", "Gris", "--first-name", "Lou")
    assert bwc(*arguments, "--role", "agent_habilite")[0] == 0
    assert not has_ground(viewer_of(person(house, "3201")), NOW)
    act = ("--number", "HAB-1", "--signatory", "Le maire", "--signed-on", "2026-11-01", "--starts-on", "2026-11-20")
    assert bwc("person", "habilitate", "3201", *act, "--ends-on", "2026-11-22")[0] == 0
    assert has_ground(viewer_of(person(house, "3201")), NOW)
    assert not has_ground(viewer_of(person(house, "3201")), NOW + timedelta(days=1))
    assert bwc("person", "habilitate", "3201", *act, "--ends-on", "2026-11-02")[0] == 2
    assert bwc("person", "habilitate", "9999", *act)[0] == 2


def test_the_camera_after_the_orders_last_is_refused(bwc, house: Installation) -> None:  # type: ignore[no-untyped-def]
    with house.database.write() as session:
        session.execute(text("UPDATE prefect_order SET camera_count = 4 WHERE kind = 'bodycam'"))
    assert bwc("camera", "add", "CAM-20", "SERIAL20")[0] == 0
    code, _, err = bwc("camera", "add", "CAM-21", "SERIAL21")
    assert code == 3
    assert "autorise 4 caméras" in err


def test_a_folder_is_docked_with_its_real_files(bwc, house: Installation, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "card"
    (folder / "DCIM").mkdir(parents=True)
    (folder / "DCIM" / "a.mp4").write_bytes(b"bytes" * 1000)
    (folder / "readme.txt").write_text("not a recording")
    code, out, _ = bwc("dock", "--folder", str(folder), "--serial", "BWDEMO0000007", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["state"] == "done"
    assert [(file["path"], file["state"]) for file in report["files"]] == [("DCIM/a.mp4", "stored")]


def test_doctor_says_what_is_wrong_and_leaves_with_seven(bwc, house: Installation) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = bwc("doctor", "--json")
    points = {point["what"]: point["ok"] for point in json.loads(out)}
    assert points["installation"]
    house.settings.data.chmod(0o755)
    code, out, _ = bwc("doctor")
    assert code == 7
    assert "chmod 700" in out
