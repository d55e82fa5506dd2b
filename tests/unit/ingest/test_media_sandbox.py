from __future__ import annotations

import errno
import io
import json
import os
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bwc.core.errors import EvidenceError
from bwc.ingest import media_confine, media_drill
from bwc.ingest import media_wire as wire
from bwc.ingest.sandbox import Done, Failed, Limits, run
from media_helpers import clip

TIGHT = Limits(memory=256 << 20, cpu_s=1, wall_s=20.0, output=1 << 20)


def drill(act: str, limits: Limits = TIGHT, **more):
    return run("drill", io.BytesIO(b""), 0, limits, options={"act": act}, sink=lambda data: None, **more)


def children() -> set[str]:
    """Processes this test has made and that still live; those of the session (a browser, a server) are not its."""
    return _all_children() - _before


_before: set[str] = set()


@pytest.fixture(autouse=True)
def _count_from_here() -> None:
    _before.clear()
    _before.update(_all_children())


def _all_children() -> set[str]:
    names = (entry.name for entry in Path("/proc").iterdir())
    return {name for name in names if name.isdigit() and _parent(name) == os.getpid()}


def _parent(name: str) -> int:
    try:
        return int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_good_child_is_done_and_says_what_confined_it():
    result = drill("nothing")
    assert isinstance(result, Done)
    assert set(result.report["confinement"]) == {"network", "calls"}


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("allocate", "memory"),
        ("loop", "timeout"),
        ("write", "refused"),
        ("read", "refused"),
        ("connect", "refused"),
        ("execute", "refused"),
        ("fork", "refused"),
        ("fault", "crashed"),
        ("spill", "crashed"),
        ("kill", "killed"),
        ("flood", "refused"),
        ("shout", "refused"),
        ("act that does not exist", "crashed"),
    ],
)
def test_misbehaviour_is_a_typed_failure(act, reason):
    result = drill(act)
    assert isinstance(result, Failed)
    assert result.reason == reason
    assert len(result.detail) < 300
    assert result.detail.isprintable()


STAND_IN = """
import io, json, os, resource
from bwc.ingest.sandbox import Done, Limits, run
result = run("drill", io.BytesIO(b""), 0, Limits(memory=256 << 20), options={"act": "reach"})
assert isinstance(result, Done), result
limits = [resource.getrlimit(kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)]
print(json.dumps({**result.report, "limits": limits, "nice": os.nice(0)}))
"""


@pytest.fixture(scope="module")
def reached() -> dict:
    """What a child tried on a parent that may die of it, as that parent tells it."""
    done = subprocess.run([sys.executable, "-c", STAND_IN], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-500:]}"
    told = json.loads(done.stdout.splitlines()[-1])
    if told["confinement"]["calls"] is not True:
        pytest.skip("this kernel has no system-call filter")
    return told


def test_child_reaches_neither_its_parent_nor_memory_that_outlasts_it(reached):
    assert reached["answers"] == dict.fromkeys(media_drill.REACHES, errno.EACCES)


def test_child_may_still_abort_and_ask_its_own_limits(reached):
    assert reached["own"] == dict.fromkeys(media_drill.OWN, 0)


def test_parent_keeps_its_limits_and_priority(reached):
    kinds = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)
    assert reached["limits"] == [list(resource.getrlimit(kind)) for kind in kinds]
    assert reached["nice"] == os.nice(0)


@pytest.mark.parametrize("kind", ["net", "ipc"])
def test_child_leaves_the_namespaces(reached, kind):
    if reached["confinement"]["network"] is not True:
        pytest.skip("this kernel gives no user namespaces")
    assert reached["namespaces"][kind] != str(Path("/proc/self/ns", kind).readlink())


def test_child_where_ipc_cannot_be_left_still_leaves_the_network():
    asked = []

    class Kernel:
        def unshare(self, flags: int) -> int:
            asked.append(flags)
            return -1 if flags & 0x08000000 else 0

    assert media_confine._leave(Kernel()) is True
    assert asked == [0x58000000, 0x50000000]


def filtered(machine: str, number: int, arguments: tuple[int, ...], pid: int) -> int:
    """What the filter of `machine` answers, run here by hand (linux/filter.h)."""
    program = media_confine._program(media_confine._MACHINES[machine], pid)
    lines = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    padded = [value & 0xFFFFFFFFFFFFFFFF for value in (*arguments, *[0] * 6)][:6]
    call = struct.pack("<IIQ6Q", number, media_confine._MACHINES[machine][0], 0, *padded)
    loaded = at = 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            loaded = struct.unpack_from("<I", call, value)[0]
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += yes if holds else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_of_each_machine(machine):
    place = ("x86_64", "aarch64").index(machine)
    people = {media_drill.PARENT: 41, media_drill.ITSELF: 42}
    for calls, expected in ((media_drill.REACHES, 0x00050000 | errno.EACCES), (media_drill.OWN, 0x7FFF0000)):
        for name, call in calls.items():
            arguments = tuple(people.get(value, value) for value in call[2])
            assert filtered(machine, call[place], arguments, 42) == expected, name
    # a pid is 32 bits for the kernel: nothing above them makes another process look like the child
    tgkill = media_drill.REACHES["tgkill"][place]
    assert filtered(machine, tgkill, (41 | 42 << 32, 41, 9), 42) == 0x00050000 | errno.EACCES
    clone = {"x86_64": 56, "aarch64": 220}[machine]
    assert filtered(machine, clone, (0x3D0F00,), 42) == 0x7FFF0000
    assert filtered(machine, clone, (17,), 42) == 0x00050000 | errno.EACCES
    assert filtered(machine, 435, (), 42) == 0x00050000 | errno.ENOSYS


def test_nothing_was_written():
    drill("write")
    assert not Path("/tmp/bwc-drill").exists()


def test_wall_limit_ends_a_sleeper_and_leaves_no_process():
    result = drill("sleep", Limits(wall_s=0.5))
    assert result == Failed("timeout", "wall limit of 0.5 s")
    assert children() == set()


def test_unknown_task_is_a_failure():
    assert isinstance(run("no such task", io.BytesIO(b""), 0, TIGHT), Failed)


class Broken(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise EvidenceError("a chunk does not authenticate")


def test_error_of_the_source_reaches_the_caller_and_ends_the_child():
    with pytest.raises(EvidenceError, match="authenticate"):
        run("facts", Broken(clip()), len(clip()), Limits())
    assert children() == set()


def test_error_of_the_sink_reaches_the_caller():
    def full(data: bytes) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run("poster", io.BytesIO(clip()), len(clip()), Limits(output=1 << 20), sink=full)
    assert children() == set()


def test_derivative_without_a_sink_is_refused():
    assert run("poster", io.BytesIO(clip()), len(clip()), Limits(output=1 << 20)) == Failed(
        "refused", "sent more than its task may give"
    )


def test_short_reads_of_the_source_are_joined():
    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 1000))

    result = run("facts", Dribble(clip()), len(clip()), Limits())
    assert isinstance(result, Done)
    assert result.report["readable"] is True


def test_source_shorter_than_announced_is_survived():
    result = run("facts", io.BytesIO(clip()[:5000]), len(clip()), Limits())
    assert isinstance(result, Done)


def test_descriptors_do_not_leak():
    drill("nothing")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for act in ("nothing", "kill", "shout"):
        drill(act)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_spool_needs_a_folder():
    with pytest.raises(ValueError, match="folder"):
        drill("nothing", Limits(spool=1 << 20))


class FakeChild:
    """A child that speaks by hand: what a taken-over one could send."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        import subprocess

        real = subprocess.Popen

        def popen(arguments, **settings):
            import json

            told = json.loads(arguments[-1])
            program = f"import os,socket,struct,time\nline,out={told['line']},{told['out']}\n{code}"
            return real([arguments[0], "-I", "-c", program], **settings)

        monkeypatch.setattr("bwc.ingest.sandbox.subprocess.Popen", popen)


@pytest.mark.parametrize(
    "code",
    [
        f"os.write(out, {wire.FRAME.pack(b'R', 2 << 20)!r} + b'[' * (2 << 20))",
        f"os.write(out, {wire.FRAME.pack(b'R', 2)!r} + b'[]')",
        f"os.write(out, {wire.FRAME.pack(b'R', 1)!r} + b'{{')",
        f"os.write(out, {wire.FRAME.pack(b'X', 0)!r})",
        f"os.write(out, {wire.FRAME.pack(b'P', 9)!r} + b'999999999')",
        f"os.write(out, {wire.FRAME.pack(b'R', 2)!r} + b'{{}}' + {wire.FRAME.pack(b'R', 2)!r} + b'{{}}')",
        f"os.write(out, {wire.FRAME.pack(b'C', 0xFFFFFFFF)!r})",
        f"socket.socket(fileno=line).sendall({wire.REQUEST.pack(0, 1 << 30)!r}); time.sleep(30)",
        f"socket.socket(fileno=line).sendall({wire.REQUEST.pack(2**63, 8)!r}); time.sleep(30)",
    ],
)
def test_breach_of_the_protocol_is_refused(monkeypatch, code):
    FakeChild(monkeypatch, code)
    result = drill("nothing")
    assert isinstance(result, Failed)
    assert result.reason in ("refused", "crashed")
    assert children() == set()


def test_child_that_asks_and_never_takes_is_timed_out(monkeypatch):
    asks = wire.REQUEST.pack(0, 1 << 20) * 50
    FakeChild(monkeypatch, f"s=socket.socket(fileno=line); s.sendall({asks!r}); time.sleep(60)")
    started = time.monotonic()
    result = run("drill", io.BytesIO(bytes(1 << 20)), 1 << 20, Limits(wall_s=1.0), options={"act": "nothing"})
    assert isinstance(result, Failed)
    assert result.reason == "timeout"
    assert time.monotonic() - started < 30
    assert children() == set()


def test_half_a_report_is_a_crash(monkeypatch):
    FakeChild(monkeypatch, f"os.write(out, {wire.FRAME.pack(b'R', 20)!r} + b'{{')")
    result = drill("nothing")
    assert isinstance(result, Failed)
    assert result.reason == "crashed"
