"""The emulated dock's cameras: several segments of generated footage each, one file cut short by power loss."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from bwc.core.clock import PARIS
from bwc.demonstration.footage import cut_short, footage
from bwc.docking.card_maker import CardSource, make_card
from bwc.docking.emulation import CameraSpec, describe

VENDOR_ID, PRODUCT_ID = 0x1209, 0xB0D1
READ_BYTES_PER_S = 6_000_000  # a slow USB 2 camera, so that a copy can be watched
CARD_BYTES = 512 << 20
LOOP_S = 20  # the street comes round every 20 seconds; clock, place and sound do not

PLACES = {
    "CAM-07": ("44.9333", "4.8916"),
    "CAM-12": ("44.9289", "4.8934"),
    "CAM-03": ("44.9262", "4.9021"),
}


@dataclass(frozen=True)
class Segment:
    """One file to film: minutes before now at which it starts, its length in seconds, whether power failed."""

    before_min: int
    seconds: int
    cut: bool = False


@dataclass(frozen=True)
class Plan:
    """One camera of the dock."""

    label: str
    serial: str
    kind: str
    seed: int
    segments: tuple[Segment, ...]


PLANS = (
    Plan(
        "CAM-07", "BWDEMO0000007", "fat32", 10, (Segment(312, 60), Segment(311, 60), Segment(187, 75), Segment(44, 40))
    ),
    Plan("CAM-12", "BWDEMO0000012", "exfat", 20, (Segment(260, 60), Segment(96, 60), Segment(95, 45, cut=True))),
    Plan("CAM-03", "BWDEMO0000003", "exfat", 30, (Segment(402, 50), Segment(150, 60))),
)


def build_camera(folder: Path, plan: Plan, now: datetime, *, read_bytes_per_s: int = READ_BYTES_PER_S) -> None:
    """Film and write one camera, unless it is there already."""
    image = image_of(folder, plan)
    if image.exists():
        return
    image.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sources = [_film(plan, number, segment, now) for number, segment in enumerate(plan.segments, 1)]
    partial = image.with_suffix(".tmp")
    make_card(partial, "fat32" if plan.kind == "fat32" else "exfat", CARD_BYTES, sources, label=plan.label)
    partial.rename(image)
    spec = CameraSpec(
        image.name, VENDOR_ID, PRODUCT_ID, plan.serial, "Camera de demonstration", "bwc", read_bytes_per_s
    )
    describe(folder, plan.label, spec)


def image_of(folder: Path, plan: Plan) -> Path:
    """Where a camera's card image lies."""
    return folder / "cameras" / f"{plan.label}.img"


def build_dock(folder: Path, now: datetime, plans: tuple[Plan, ...] = PLANS, read_bytes_per_s: int = 0) -> None:
    """Film every camera, one process each, two at a time. Raises what the first failing one raised."""
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(build_camera, folder, plan, now, read_bytes_per_s=read_bytes_per_s) for plan in plans]
        for done in waiting:
            done.result()


def _film(plan: Plan, number: int, segment: Segment, now: datetime) -> CardSource:
    start = (now - timedelta(minutes=segment.before_min)).replace(microsecond=0)
    data = footage(
        start,
        segment.seconds,
        plan.label,
        width=960,
        height=540,
        fps=12.5,
        seed=plan.seed + number,
        gps=PLACES[plan.label],
        loop_s=LOOP_S,
    )
    if segment.cut:
        data = cut_short(data)
    local = start.astimezone(PARIS)
    path = f"DCIM/{local:%Y%m%d}/{plan.label.replace('-', '')}_{local:%Y%m%d_%H%M%S}_{number:04d}.MP4"
    ended = local + timedelta(seconds=segment.seconds)
    modified = ended if plan.kind == "exfat" else ended.replace(tzinfo=None)
    return CardSource(path, len(data), modified, lambda: io.BytesIO(data))
