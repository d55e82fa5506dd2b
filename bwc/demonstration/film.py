"""`python -m bwc.demonstration.film FOLDER`: film the dock's cameras beside the running product, then plug them."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from bwc.core.clock import SystemClock
from bwc.demonstration.cameras import PLANS, Plan, build_camera, image_of
from bwc.docking.emulation import put, state

PLUGGED_AT_FIRST = {"CAM-07": 1, "CAM-12": 2}  # the third is left for the visitor to plug


def missing(folder: Path) -> tuple[Plan, ...]:
    """Cameras whose card is not made yet."""
    return tuple(plan for plan in PLANS if not image_of(folder, plan).exists())


def film(folder: Path) -> None:
    """Make what is missing, two cameras at a time, and plug each as it comes if its bay is free."""
    now = SystemClock().now()
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        filming = {pool.submit(build_camera, folder, plan, now): plan for plan in missing(folder)}
        for done in as_completed(filming):
            done.result()
            label = filming[done].label
            port = PLUGGED_AT_FIRST.get(label)
            if port is not None and state(folder)[port] is None:
                put(folder, port, label)


if __name__ == "__main__":
    film(Path(sys.argv[1]))
