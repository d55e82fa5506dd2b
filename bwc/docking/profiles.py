"""What is known of a model of camera, as data: which device it is, which files count, what their names say.

Not responsible for copying or wiping, only for saying how. Profiles are TOML files, read strictly: an unknown
key or a wrong type stops the start, naming the file and the key. A device no profile matches is never read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bwc.core.errors import ConfigError
from bwc.docking.transport import Identity

PROFILE_FOLDER = Path(__file__).parent / "camera_profiles"
NAME_GROUPS = frozenset({"camera", "officer", "start", "seq", "flags"})
NAME_LIMIT = 255
MAX_TRANSFER_BYTES = 1024 * 1024

_SEQUENCE = re.compile(r"[0-9]{1,9}")
_CARD_FILE = "card-file:"
_EXAMPLE = datetime(2026, 11, 22, 18, 32, 7)  # noqa: DTZ001  # cameras state local time without a zone


@dataclass(frozen=True)
class NamedFacts:
    """What a file's name claims, None where it does not say; `start` is naive, read by `clock`."""

    camera: str | None = None
    officer: str | None = None
    start: datetime | None = None
    sequence: int | None = None
    flags: str | None = None


@dataclass(frozen=True)
class Profile:
    """One model of camera.

    Globs are case-insensitive, '/'-separated, from the card's root; `**` is any number of folders. `settle_s`
    seconds pass between plug and first command; `max_transfer_bytes` caps a request; `serial_sources` are
    "usb" or "card-file:PATH", in order of trust; `wipe` "none" leaves the card to the camera.
    """

    name: str
    vendor_id: int
    product_id: int
    product: re.Pattern[str] | None
    transport: Literal["mass-storage"]
    max_transfer_bytes: int
    settle_s: float
    roots: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    sidecars: tuple[str, ...]
    file_name: re.Pattern[str] | None
    start_format: str | None
    clock: Literal["camera-local", "utc"]
    serial_sources: tuple[str, ...]
    wipe: Literal["fs-delete", "none"]

    def matches(self, identity: Identity) -> bool:
        """Whether a device is of this model: both ids, and the product string if stated."""
        if (identity.vendor_id, identity.product_id) != (self.vendor_id, self.product_id):
            return False
        return self.product is None or self.product.search(identity.product) is not None

    def wants(self, path: str) -> bool:
        """Whether the file is a recording: under a root, included and not excluded."""
        return self._under_root(path) and _any_glob(self.include, path) and not _any_glob(self.exclude, path)

    def is_sidecar(self, path: str) -> bool:
        """Whether the file goes with recordings (position, log) without being one."""
        return self._under_root(path) and _any_glob(self.sidecars, path) and not self.wants(path)

    def parse_name(self, path: str) -> NamedFacts:
        """What the file's name claims; nothing when it does not match, no start when that is no date."""
        name = path.rpartition("/")[2]
        if self.file_name is None or len(name) > NAME_LIMIT:
            return NamedFacts()
        found = self.file_name.fullmatch(name)
        if found is None:
            return NamedFacts()
        said = found.groupdict()
        sequence = said.get("seq") or ""
        return NamedFacts(
            camera=said.get("camera") or None,
            officer=said.get("officer") or None,
            start=self._start(said.get("start") or ""),
            sequence=int(sequence) if _SEQUENCE.fullmatch(sequence) else None,
            flags=said.get("flags") or None,
        )

    def _start(self, text: str) -> datetime | None:
        if not text or self.start_format is None:
            return None
        try:
            return datetime.strptime(text, self.start_format)  # noqa: DTZ007  # `clock` says
        except ValueError:
            return None

    def _under_root(self, path: str) -> bool:
        folded = path.strip("/").casefold()
        return not self.roots or any(folded.startswith(f"{root.casefold()}/") for root in self.roots)


@dataclass(frozen=True)
class ProfileBook:
    """Every profile of an installation."""

    profiles: tuple[Profile, ...]

    def match(self, identity: Identity) -> Profile | None:
        """The device's profile: one that states a product string goes first; None when unknown."""
        if not identity.vendor_id:
            return None  # zero is no vendor: it is the mounted folder's profile, which no device may claim
        found = [profile for profile in self.profiles if profile.matches(identity)]
        return min(found, key=lambda profile: profile.product is None, default=None)

    def named(self, name: str) -> Profile | None:
        """The profile of that name, as a session recorded it."""
        return next((profile for profile in self.profiles if profile.name == name), None)


def load_profiles(folders: Iterable[Path] = (PROFILE_FOLDER,)) -> ProfileBook:
    """Every `*.toml` of the folders, in order of name.

    Raises ConfigError for a profile that is not in order, and for two of the same name or the same match.
    """
    files = [file for folder in folders for file in sorted(folder.glob("*.toml"))]
    taken: dict[object, Path] = {}
    profiles = []
    for file in files:
        profile = read_profile(file)
        product = profile.product.pattern if profile.product else None
        for key in (profile.name, (profile.vendor_id, profile.product_id, product)):
            if key in taken:
                raise ConfigError(f"{file}: same name or match as {taken[key]}")
            taken[key] = file
        profiles.append(profile)
    return ProfileBook(tuple(profiles))


def read_profile(path: Path) -> Profile:
    """The profile in a TOML file; raises ConfigError naming the file and the key at fault."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return _Reader(path, table).profile()


class _Reader:
    """Takes keys out of a table, each with its check; what is left at the end is unknown."""

    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self._path = path
        self._table = table
        self._known: set[str] = set()

    def profile(self) -> Profile:
        profile = Profile(
            name=self._text("name", required=True),
            vendor_id=self._number("match.vendor_id", 0, 0xFFFF),
            product_id=self._number("match.product_id", 0, 0xFFFF),
            product=self._pattern("match.product"),
            transport=self._choice("transport.kind", "mass-storage"),
            max_transfer_bytes=self._number(
                "transport.max_transfer_bytes", 16384, MAX_TRANSFER_BYTES, MAX_TRANSFER_BYTES
            ),
            settle_s=self._seconds("transport.settle_s", 60.0),
            roots=tuple(root.strip("/") for root in self._texts("files.roots", _relative)),
            include=self._texts("files.include", _relative, required=True),
            exclude=self._texts("files.exclude", _relative),
            sidecars=self._texts("files.sidecars", _relative),
            file_name=self._pattern("files.name", NAME_GROUPS),
            start_format=self._start_format("files.start_format"),
            clock=self._choice("files.clock", "camera-local", "utc"),
            serial_sources=self._texts("camera.serial", _serial_source, required=True),
            wipe=self._choice("camera.wipe", "none", "fs-delete"),
        )
        self._no_others(self._table, "")
        has_start = profile.file_name is not None and "start" in profile.file_name.groupindex
        if has_start != (profile.start_format is not None):
            raise self._fault("files.start_format", "needed with a group 'start', and only then")
        return profile

    def _fault(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self._path}: {key}: {what}")

    def _get(self, key: str) -> Any:
        """Value at a dotted key, None when absent."""
        self._known.add(key)
        value: Any = self._table
        for part in key.split("."):
            if not isinstance(value, dict):
                raise self._fault(key.partition(".")[0], "must be a table")
            value = value.get(part)
            if value is None:
                return None
        return value

    def _no_others(self, table: dict[str, Any], prefix: str) -> None:
        for name, value in table.items():
            key = prefix + name
            if key in self._known:
                continue
            if not isinstance(value, dict) or not any(known.startswith(f"{key}.") for known in self._known):
                raise self._fault(key, "unknown key")
            self._no_others(value, f"{key}.")

    def _text(self, key: str, required: bool = False) -> str:
        value = self._get(key)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or not value.strip():
            raise self._fault(key, "must be a text, not empty")
        return value

    def _number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._get(key)
        value = default if value is None else value
        if type(value) is not int or not low <= value <= high:
            raise self._fault(key, f"must be a whole number from {low} to {high}")
        return value

    def _seconds(self, key: str, high: float) -> float:
        value = self._get(key)
        value = 0.0 if value is None else value
        if type(value) not in (int, float) or not 0 <= value <= high:
            raise self._fault(key, f"must be seconds from 0 to {high:g}")
        return float(value)

    def _choice(self, key: str, *allowed: str) -> Any:
        value = self._get(key)
        value = allowed[0] if value is None else value
        if value not in allowed:
            raise self._fault(key, f"must be one of {', '.join(allowed)}")
        return value

    def _texts(self, key: str, valid: Callable[[str], bool], required: bool = False) -> tuple[str, ...]:
        value = self._get(key)
        value = [] if value is None else value
        if not isinstance(value, list) or not all(isinstance(item, str) and valid(item) for item in value):
            raise self._fault(key, "must be a list of texts of the right form")
        if required and not value:
            raise self._fault(key, "must not be empty")
        return tuple(value)

    def _pattern(self, key: str, groups: frozenset[str] = frozenset()) -> re.Pattern[str] | None:
        text = self._text(key)
        if not text:
            return None
        try:
            pattern = re.compile(text, re.IGNORECASE)
        except re.error as error:
            raise self._fault(key, f"not a regular expression: {error}") from error
        if unknown := set(pattern.groupindex) - groups:
            raise self._fault(key, f"unknown groups {', '.join(sorted(unknown))}")
        return pattern

    def _start_format(self, key: str) -> str | None:
        """A strptime format that keeps year to second and no zone."""
        text = self._text(key)
        if not text:
            return None
        try:
            kept = datetime.strptime(_EXAMPLE.strftime(text), text)  # noqa: DTZ007  # checked for no zone
        except ValueError as error:
            raise self._fault(key, f"not a date format: {error}") from error
        if kept != _EXAMPLE:
            raise self._fault(key, "must give year, month, day, hour, minute and second, without a zone")
        return text


def _relative(path: str) -> bool:
    """Whether a path or glob stays on the card."""
    return bool(path.strip("/")) and ".." not in path.split("/")


def _serial_source(text: str) -> bool:
    return text == "usb" or (text.startswith(_CARD_FILE) and _relative(text.removeprefix(_CARD_FILE)))


def _any_glob(globs: tuple[str, ...], path: str) -> bool:
    folded = path.strip("/").casefold()
    return any(_glob(glob.strip("/").casefold()).fullmatch(folded) for glob in globs)


@cache
def _glob(glob: str) -> re.Pattern[str]:
    """The regular expression of a glob: `**/` any folders, `**` anything, `*` and `?` within a name."""
    tokens = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return re.compile("".join(tokens.get(part, re.escape(part)) for part in parts), re.DOTALL)
