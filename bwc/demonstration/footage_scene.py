"""A patrol through the demonstration street: who is where at each instant, and the picture of that instant.

The same seed gives the same patrol. The officer walks, stops, speaks to somebody, walks on.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from bwc.demonstration.footage_paint import CURB_LEFT, CURB_RIGHT, DAY, LAMP_EVERY, NIGHT, PERIOD_M, Bytes
from bwc.demonstration.footage_sprites import PHASES, Figure, Wardrobe
from bwc.demonstration.footage_street import Street

_PACE: Final = 1.25
_STEP_S: Final = 0.55
_NEAREST: Final = 1.7
_FARTHEST: Final = 62.0
_TICK: Final = 0.04


@dataclass(frozen=True)
class _Mover:
    """Somebody or something moving along the street at `speed` metres a second, at `z` when `since` seconds."""

    figure: Figure
    x: float
    z: float
    speed: float
    since: float
    until: float


class Patrol:
    """What the officer meets in `duration` seconds: `offset` is how far they have walked, in metres."""

    def __init__(self, duration: float, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._stops = list(_stops(duration, random))
        speed = np.full(math.ceil(duration / _TICK) + 2, _PACE)
        for begin, end in self._stops:
            speed[int(begin / _TICK) : int(end / _TICK)] = 0
        soft = np.ones(20) / 20
        self._speed = np.convolve(np.pad(speed, 10, mode="edge"), soft, mode="same")[10:-10]
        self._walked = np.cumsum(self._speed) * _TICK + float(random.uniform(0, PERIOD_M))
        self._movers = sorted(self._passers_by(duration, random), key=lambda mover: mover.since)
        self._begins = [mover.since for mover in self._movers]
        self._faces = [int(random.integers(12)) for _ in self._stops]

    def offset(self, t: float) -> float:
        """Metres walked at `t` seconds."""
        return float(self._walked[min(int(t / _TICK), len(self._walked) - 1)])

    def pace(self, t: float) -> float:
        """Speed at `t`, from 0 (standing) to 1."""
        return float(self._speed[min(int(t / _TICK), len(self._speed) - 1)]) / _PACE

    def met(self, t: float) -> Iterator[tuple[Figure, float, float]]:
        """Figures in sight at `t`: what, metres to the right, metres ahead."""
        offset = self.offset(t)
        for mover in self._movers[: bisect.bisect_right(self._begins, t)]:
            if t < mover.until:
                phase = mover.figure.phase
                if mover.figure.name in ("walker", "leaving"):
                    phase = int((t - mover.since) / (2 * _STEP_S) * PHASES) % PHASES
                figure = Figure(mover.figure.name, mover.figure.variant, phase)
                yield figure, mover.x, mover.z + mover.speed * (t - mover.since) - offset
        for (begin, end), face in zip(self._stops, self._faces, strict=True):
            if begin - 14 < t < end + 3:
                yield self._other(t, begin, end, face, offset)

    def _other(self, t: float, begin: float, end: float, face: int, offset: float) -> tuple[Figure, float, float]:
        """The person the officer stops for: waits, speaks, then stays behind."""
        speaking = begin < t < end and int(t * 1.7 + face) % 3 != 0
        phase = PHASES + (1 if speaking else 0)
        return Figure("walker", face, phase), -0.15 + 0.03 * math.sin(t * 1.3), self.offset(end) + 2.7 - offset

    def _passers_by(self, duration: float, random: np.random.Generator) -> Iterator[_Mover]:
        t = -40.0
        while t < duration:
            coming = random.random() < 0.6
            x = float(random.choice([0.75, 1.25, 1.7, -9.4, -9.9, -10.3]))
            speed = float(random.uniform(0.9, 1.4)) * (-1 if coming else 1)
            z = self.offset(max(0.0, t)) + (float(random.uniform(26, 55)) if coming else float(random.uniform(5, 22)))
            yield _Mover(Figure("walker" if coming else "leaving", int(random.integers(12))), x, z, speed, t, t + 60)
            t += float(random.exponential(3.6))
        t = -3.0
        while t < duration:
            variant, speed = int(random.integers(6)), float(random.uniform(7, 11))
            where = self.offset(max(0.0, t))
            if random.random() < 0.62:
                yield _Mover(Figure("car", variant, 1), -6.1, where + 90, -speed, t, t + 16)
            else:
                yield _Mover(Figure("car", variant, 0), -4.3, where + 2, speed, t, t + 16)
            t += float(random.exponential(5.5)) + 1.5


def _stops(duration: float, random: np.random.Generator) -> Iterator[tuple[float, float]]:
    t = float(random.uniform(7, 14))
    while t < duration:
        end = t + float(random.uniform(6, 13))
        yield t, end
        t = end + float(random.uniform(14, 26))


def _furniture(seed: int) -> list[tuple[Figure, float, float]]:
    """What never moves: figure, metres to the right, metres along the street's period."""
    random = np.random.default_rng(seed + 1)
    things = [(Figure("lamp", 1), CURB_RIGHT + 0.25, 6.0 + n * LAMP_EVERY) for n in range(4)]
    things += [(Figure("lamp", 0), CURB_LEFT - 0.25, 14.0 + n * LAMP_EVERY) for n in range(4)]
    things += [(Figure("tree", n), CURB_LEFT - 0.7, 2.0 + n * LAMP_EVERY) for n in range(4)]
    for place in np.arange(0.5, PERIOD_M, 5.6):
        if random.random() < 0.72 and not 37 < place < 45:
            things.append((Figure("car", int(random.integers(6)), 0), CURB_RIGHT - 1.05, float(place)))
        if random.random() < 0.5 and not 37 < place < 45:
            things.append((Figure("car", int(random.integers(6)), 2), CURB_LEFT + 1.05, float(place) + 2))
    return things


class Scene:
    """The street with its furniture, ready to be filmed at `width` by `height`; keeps its drawings between films."""

    def __init__(self, width: int, height: int, night: bool, seed: int) -> None:
        self.width, self.height = width, height
        self._margin = max(8, width // 60 // 2 * 2)
        self._street = Street(width, height, self._margin, NIGHT if night else DAY, seed)
        self._wardrobe = Wardrobe(self._street.light, self._street.haze)
        self._furniture = _furniture(seed)
        self._planes: tuple[Bytes, Bytes, Bytes] | None = None

    def film(self, patrol: Patrol, t: float, out: Bytes) -> None:
        """Write the picture at `t` seconds of `patrol` into `out`, planar YUV 4:2:0 of `height * 3 / 2` rows."""
        offset = patrol.offset(t)
        seen = self._street.look(offset)
        if self._planes is None:
            self._planes = (seen[0].copy(), seen[1].copy(), seen[2].copy())
        for plane, fresh in zip(self._planes, seen, strict=True):
            np.copyto(plane, fresh)
        there = [(figure, x, (z - offset) % PERIOD_M) for figure, x, z in self._furniture]
        there += [(figure, x, z + PERIOD_M) for figure, x, z in there if z + PERIOD_M < _FARTHEST]
        there += list(patrol.met(t))
        for figure, x, z in sorted(there, key=lambda item: -item[2]):
            if _NEAREST < z < _FARTHEST:
                self._put(figure, x, z)
        self._frame(patrol, t, out)

    def _put(self, figure: Figure, x: float, z: float) -> None:
        if self._planes is None:
            return
        column, row, scale = self._street.lens.project(x, 0.0, z)
        self._wardrobe.lay(figure, self._planes, (column, row), scale, math.exp(-z / 50))

    def _frame(self, patrol: Patrol, t: float, out: Bytes) -> None:
        """Cut the picture out of its margin, moved by the wearer's step and breath."""
        if self._planes is None:
            return
        step, walking = math.pi * t / _STEP_S, 0.25 + 0.75 * patrol.pace(t)
        reach = self._margin * 0.8
        across = reach * (0.7 * walking * math.sin(step) + 0.3 * math.sin(0.9 * t))
        down = reach * (0.6 * walking * math.cos(2 * step) + 0.3 * math.sin(1.3 * t))
        left, top = (self._margin + round(move / 2) * 2 for move in (across, down))
        high, wide = self.height, self.width
        out[:high] = self._planes[0][top : top + high, left : left + wide]
        for plane, row in ((self._planes[1], high), (self._planes[2], high + high // 4)):
            part = plane[top // 2 : (top + high) // 2, left // 2 : (left + wide) // 2]
            out[row : row + high // 4] = part.reshape(high // 4, wide)


class Reel:
    """The pictures of a patrol, one after another; after `loop` pictures (0: never) the same come again.

    A loop is kept in memory: `loop` times 1.5 bytes a pixel.
    """

    def __init__(self, stage: Scene, seconds: float, rate: float, seed: int, loop: int) -> None:
        self._stage, self._rate, self._loop = stage, rate, loop
        self.patrol = Patrol(min(seconds, loop / rate) if loop else seconds, seed)
        self._kept: dict[int, Bytes] = {}

    def picture(self, number: int, out: Bytes) -> None:
        """Write picture `number` into `out`, as `Scene.film`."""
        number = number % self._loop if self._loop else number
        kept = self._kept.get(number)
        if kept is not None:
            np.copyto(out, kept)
            return
        self._stage.film(self.patrol, number / self._rate, out)
        if self._loop:
            self._kept[number] = out.copy()

    def pace(self, number: int) -> float:
        """How fast the officer walks in picture `number`, from 0 to 1."""
        return self.patrol.pace((number % self._loop if self._loop else number) / self._rate)


@lru_cache(maxsize=3)
def scene(width: int, height: int, night: bool, street: int) -> Scene:
    """A scene, kept for the next film of the same street; about three seconds and 100 MB the first time."""
    return Scene(width, height, night, street)


@lru_cache(maxsize=1)
def looped(stage: Scene, rate: float, seed: int, loop: int) -> Reel:
    """The last loop filmed, kept: the next recording of the same one is only written on and encoded."""
    return Reel(stage, loop / rate, rate, seed, loop)
