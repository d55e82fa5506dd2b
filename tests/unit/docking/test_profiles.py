from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.core.errors import ConfigError
from bwc.docking.profiles import PROFILE_FOLDER, NamedFacts, Profile, load_profiles, read_profile
from bwc.docking.transport import Identity

DEMONSTRATION = Identity(0x1209, 0xB0D1, "1")
NAME = "DCIM/20261122/CAM07_20261122_183207_0003.MP4"

MINIMAL = """
name = "minimal"
[match]
vendor_id = 1
product_id = 2
[files]
include = ["**/*.MP4"]
[camera]
serial = ["usb"]
"""


@pytest.fixture(scope="module")
def demonstration() -> Profile:
    profile = load_profiles().match(DEMONSTRATION)
    assert profile is not None
    return profile


def written(folder: Path, text: str, name: str = "p.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_only_the_demonstration_and_the_mounted_folder_are_shipped() -> None:
    assert [profile.name for profile in load_profiles().profiles] == ["demonstration", "folder"]


def test_an_unknown_device_has_no_profile() -> None:
    assert load_profiles().match(Identity(0x1209, 0xB0D2, "1")) is None
    assert load_profiles().match(Identity(0x0000, 0x0000, "")) is None


def test_a_profile_is_found_again_by_its_name(demonstration: Profile) -> None:
    assert load_profiles().named("demonstration") == demonstration
    assert load_profiles().named("absent") is None


def test_the_template_is_itself_a_valid_profile() -> None:
    template = read_profile(PROFILE_FOLDER / "generic.toml.template")
    assert (template.wipe, template.vendor_id) == ("none", 0)


def test_a_name_says_camera_start_and_sequence(demonstration: Profile) -> None:
    assert demonstration.parse_name(NAME) == NamedFacts(
        camera="CAM07",
        officer=None,
        start=datetime(2026, 11, 22, 18, 32, 7),  # noqa: DTZ001
        sequence=3,
        flags=None,
    )


def test_a_name_says_officer_and_flags_where_it_holds_them(demonstration: Profile) -> None:
    facts = demonstration.parse_name("DCIM/x/cam07_a1234_20261122_183207_0003_imp.mov")
    assert (facts.camera, facts.officer, facts.sequence, facts.flags) == ("cam07", "a1234", 3, "imp")


@pytest.mark.parametrize(
    "name",
    [
        "IMG_0001.MP4",
        "",
        "/",
        "x" * 5000,
        "CAM07_20261122_183207_0003.MP4.exe",
        "CAM07_20261122_183207_٣.MP4",
    ],
)
def test_a_name_of_another_form_says_nothing(demonstration: Profile, name: str) -> None:
    assert demonstration.parse_name(name) == NamedFacts()


@pytest.mark.parametrize("digit", ["³", "٣", "x", "1234567890"])
def test_a_sequence_in_other_digits_or_too_long_is_none(tmp_path: Path, digit: str) -> None:
    text = MINIMAL.replace("[files]", "[files]\nname = '(?P<camera>[A-Z]+)_(?P<seq>.+)'")
    facts = read_profile(written(tmp_path, text)).parse_name(f"CAM_{digit}")
    assert (facts.camera, facts.sequence) == ("CAM", None)


@pytest.mark.parametrize("date", ["20261322_183207", "20260230_000000", "00000000_000000", "20261122_250000"])
def test_a_date_that_is_none_gives_no_start_but_keeps_the_rest(demonstration: Profile, date: str) -> None:
    facts = demonstration.parse_name(f"CAM07_{date}_0003.MP4")
    assert (facts.camera, facts.start, facts.sequence) == ("CAM07", None, 3)


@given(name=st.text(max_size=300))
def test_any_name_is_accepted_by_every_question(name: str) -> None:
    profile = load_profiles().profiles[0]
    profile.parse_name(name)
    assert not (profile.wants(name) and profile.is_sidecar(name))


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (NAME, True),
        (f"/{NAME}", True),
        (NAME.lower(), True),
        ("DCIM/A.MP4", True),
        ("DCIM/a/b/c/d.mov", True),
        ("OTHER/20261122/CAM07_20261122_183207_0003.MP4", False),
        ("DCIMX/A.MP4", False),
        ("DCIM/.hidden.MP4", False),
        ("DCIM/._A.MP4", False),
        ("DCIM/A.TXT", False),
        ("DCIM/A.MP4.bak", False),
        ("A.MP4", False),
        ("DCIM", False),
        ("", False),
    ],
)
def test_recordings_are_told_from_other_files(demonstration: Profile, path: str, wanted: bool) -> None:
    assert demonstration.wants(path) is wanted


def test_sidecars_go_with_recordings_without_being_one(demonstration: Profile) -> None:
    assert demonstration.is_sidecar("DCIM/20261122/cam07.gps")
    assert not demonstration.is_sidecar(NAME)
    assert not demonstration.is_sidecar("SYSTEM/trace.gps")


def test_a_single_star_stays_in_its_folder_and_other_characters_are_literal(tmp_path: Path) -> None:
    text = MINIMAL.replace("**/*.MP4", "A[1]/*.MP?")
    profile = read_profile(written(tmp_path, text))
    assert profile.wants("a[1]/x.mp4")
    assert not profile.wants("a[1]/b/x.mp4")
    assert not profile.wants("a1/x.mp4")


def test_what_a_profile_leaves_out_takes_the_careful_value(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, MINIMAL))
    assert (profile.wipe, profile.clock, profile.max_transfer_bytes, profile.settle_s) == (
        "none",
        "camera-local",
        1048576,
        0.0,
    )
    assert profile.wants("anywhere/x.mp4")
    assert profile.parse_name("x.mp4") == NamedFacts()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "minimal"', "", "name"),
        ('name = "minimal"', "name = 3", "name"),
        ('name = "minimal"', 'name = "minimal"\nextra = 1', "extra"),
        ('name = "minimal"', 'name = "minimal"\n[unlock]\nplugin = "x"', "unlock"),
        ("vendor_id = 1", "", "match.vendor_id"),
        ("vendor_id = 1", "vendor_id = 65536", "match.vendor_id"),
        ("vendor_id = 1", "vendor_id = true", "match.vendor_id"),
        ("vendor_id = 1", 'vendor_id = "1209"', "match.vendor_id"),
        ("vendor_id = 1", "vendor_id = 1\nproduct = '('", "match.product"),
        ("vendor_id = 1", "vendor_id = 1\nserial = 'x'", "match.serial"),
        ("[files]", "[transport]\nkind = 'mtp'\n[files]", "transport.kind"),
        ("[files]", "[transport]\nmax_transfer_bytes = 2097152\n[files]", "transport.max_transfer_bytes"),
        ("[files]", "[transport]\nsettle_s = -1\n[files]", "transport.settle_s"),
        ("[files]", "[transport]\nsettle_s = nan\n[files]", "transport.settle_s"),
        ('include = ["**/*.MP4"]', "include = []", "files.include"),
        ('include = ["**/*.MP4"]', "include = 'x'", "files.include"),
        ("[files]", "[files]\nroots = ['../x']", "files.roots"),
        ("[files]", "[files]\nname = '(?P<who>x)'", "files.name"),
        ("[files]", "[files]\nname = '(?P<start>x)'", "files.start_format"),
        ("[files]", "[files]\nstart_format = '%Y%m%d%H%M%S'", "files.start_format"),
        ("[files]", "[files]\nname = '(?P<start>x)'\nstart_format = '%Y%m%d'", "files.start_format"),
        ("[files]", "[files]\nname = '(?P<start>x)'\nstart_format = '%Q'", "files.start_format"),
        ("[files]", "[files]\nclock = 'paris'", "files.clock"),
        ('serial = ["usb"]', "serial = []", "camera.serial"),
        ('serial = ["usb"]', "serial = ['card-file:../x']", "camera.serial"),
        ('serial = ["usb"]', "serial = ['usb']\nwipe = 'format'", "camera.wipe"),
    ],
)
def test_a_profile_not_in_order_names_the_file_and_the_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert old in MINIMAL
    path = written(tmp_path, MINIMAL.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_profile(path)
    assert f"{path}: {key}:" in str(caught.value)


def test_a_table_given_as_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="match: must be a table"):
        read_profile(written(tmp_path, 'match = 3\nname = "x"'))


@pytest.mark.parametrize("raw", [b"not toml", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError):
        read_profile(path)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read_profile(tmp_path / "absent.toml")


def test_two_profiles_for_the_same_device_are_refused(tmp_path: Path) -> None:
    written(tmp_path, MINIMAL, "a.toml")
    written(tmp_path, MINIMAL.replace('"minimal"', '"other"'), "b.toml")
    with pytest.raises(ConfigError, match="same name or match"):
        load_profiles([tmp_path])


def test_the_profile_that_states_a_product_goes_before_the_one_that_does_not(tmp_path: Path) -> None:
    written(tmp_path, MINIMAL, "a.toml")
    written(
        tmp_path,
        MINIMAL.replace('"minimal"', '"exact"').replace("vendor_id = 1", "vendor_id = 1\nproduct = '^Pro'"),
        "b.toml",
    )
    book = load_profiles([tmp_path])
    names = [getattr(book.match(Identity(1, 2, "", "", product)), "name", None) for product in ("Pro 2", "Lite")]
    assert names == ["exact", "minimal"]
