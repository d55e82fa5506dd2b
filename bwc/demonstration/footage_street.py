"""A street drawn from nothing: the stage of the demonstration footage. No photograph, no asset, no person.

A straight street as three planes (ground, two rows of facades) with painted textures. Which texel every pixel shows is
computed once; walking forward then only shifts an index, so a frame costs a few milliseconds. Pure drawing: no video,
no clock, nothing of the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bwc.demonstration.footage_houses import facades
from bwc.demonstration.footage_paint import (
    CURB_LEFT,
    CURB_RIGHT,
    EYE,
    LEFT_WALL,
    LENGTH,
    METRE,
    PERIOD_M,
    RIGHT_WALL,
    WALL_M,
    Bytes,
    Floats,
    Index,
    Light,
    Mask,
    lamp_light,
    lit,
    noise,
    to_yuv,
)

_FAR: Final = 110.0
_BARREL: Final = 0.13
_LEVELS_ALONG: Final = 7
_LEVELS_ACROSS: Final = 5


class Lens:
    """A wide, slightly barrelled lens: pixels to directions and back, for a picture with a margin all round."""

    def __init__(self, width: int, height: int, margin: int) -> None:
        self.width, self.height = width + 2 * margin, height + 2 * margin
        self.focal = 0.60 * width
        self.centre = (self.width / 2, margin + 0.45 * height)

    def rays(self, step: int) -> tuple[Floats, Floats]:
        """Direction of every `step`-th pixel: rightward and downward slope."""
        x = (np.arange(0, self.width, step, dtype=np.float32) + step / 2 - self.centre[0]) / self.focal
        y = (np.arange(0, self.height, step, dtype=np.float32) + step / 2 - self.centre[1]) / self.focal
        across, down = np.meshgrid(x, y)
        bend = 1 + _BARREL * (across**2 + down**2)
        return across * bend, down * bend

    def project(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Pixel of a point `x` right, `y` above the ground, `z` ahead (metres), and pixels a metre there."""
        across, down = x / z, (EYE - y) / z
        far = (across**2 + down**2) ** 0.5
        near = far
        for _ in range(6):
            near = far / (1 + _BARREL * near**2)
        shrink = near / far if far else 1.0
        pixel = (self.centre[0] + across * shrink * self.focal, self.centre[1] + down * shrink * self.focal)
        return *pixel, self.focal / z * shrink


class Street:
    """The empty street seen from `offset` metres on; `luma` and `chroma` (Cb and Cr) are written by `look`."""

    def __init__(self, width: int, height: int, margin: int, light: Light, seed: int) -> None:
        self.light = light
        self.lens = Lens(width, height, margin)
        painted = _painted(light, seed)
        self._luma = _View(self.lens, [maps[0] for maps in painted], METRE, 1)
        self._cb = _View(self.lens, [maps[1] for maps in painted], METRE // 2, 2)
        self._cr = _View(self.lens, [maps[2] for maps in painted], METRE // 2, 2, like=self._cb)
        sky = to_yuv(_sky(self.lens, light, np.random.default_rng(seed)))
        haze = to_yuv(np.array(light.horizon, dtype=np.float32)[None, None, :] * 255)
        self.haze = tuple(float(part[0, 0]) for part in haze)
        for view, step, layer, veil in zip((self._luma, self._cb, self._cr), (1, 2, 2), sky, self.haze, strict=True):
            view.finish(layer[::step, ::step], veil, 16.0 if step == 1 else 128.0)
        self._seen = -1

    def look(self, offset: float) -> tuple[Bytes, Bytes, Bytes]:
        """Y, Cb, Cr of the street `offset` metres on; arrays are reused by the next call: copy what must last."""
        texel = int(offset * METRE) % LENGTH
        if texel != self._seen:
            self._seen = texel
            for view, shift in ((self._luma, texel), (self._cb, texel // 2), (self._cr, texel // 2)):
                view.draw(shift)
        return self._luma.out, self._cb.out, self._cr.out


@lru_cache(maxsize=2)
def _painted(light: Light, seed: int) -> list[tuple[_Ripmap, _Ripmap, _Ripmap]]:
    """Y, Cb and Cr of the ground, the left row of houses and the right one (which is seen from behind its back)."""
    random = np.random.default_rng(seed)
    painted: list[tuple[_Ripmap, _Ripmap, _Ripmap]] = []
    for paint, step in ((_ground, 1), (facades, 1), (facades, -1)):
        surface, there = paint(random, light)
        luma, cb, cr = (np.where(there, plane, 0)[:, ::step] for plane in to_yuv(surface))
        painted.append((_ripmap(luma), _ripmap(_halved(cb)), _ripmap(_halved(cr))))
    return painted


@dataclass(frozen=True)
class _Aim:
    """For each pixel: where its texel's row begins, how far along the street it looks (texels), at which reduction,
    and the row's length less one; `depth` in metres.
    """

    base: Index
    along: Index
    level: Index
    mask: Index
    depth: Floats


def _aim(lens: Lens, metre: int, step: int, maps: list[_Ripmap]) -> _Aim:
    """What each `step`-th pixel of `lens` looks at on the three surfaces."""
    across, down = lens.rays(step)
    with np.errstate(divide="ignore", invalid="ignore"):
        ahead = np.stack([
            np.where(down > 0, EYE / down, np.inf),
            np.where(across < 0, LEFT_WALL / across, np.inf),
            np.where(across > 0, RIGHT_WALL / across, np.inf),
        ])  # fmt: skip
    which = np.argmin(ahead, axis=0)
    depth = np.minimum(np.min(ahead, axis=0), 10 * _FAR).astype(np.float32)
    up = EYE - down * depth
    sideways = np.where(which == 0, (across * depth - LEFT_WALL) * 2, np.float32(WALL_M) - up) * metre
    seen = (which == 0) | ((up >= 0) & (up < WALL_M))
    pixel = step * depth / lens.focal
    reach = np.where(which == 0, EYE, np.where(which == 1, -LEFT_WALL, RIGHT_WALL))
    along_level = _level(pixel * depth / reach * metre, _LEVELS_ALONG)
    across_level = _level(pixel * metre * np.where(which == 0, 2, 1), _LEVELS_ACROSS)
    base = np.zeros(which.shape, np.int32)
    begun = 1
    for number, flat in enumerate(maps):
        mine = (which == number) & seen
        row = np.clip(sideways[mine].astype(np.int32), 0, flat.rows - 1) >> across_level[mine]
        origin = flat.begins[along_level[mine], across_level[mine]] + begun
        base[mine] = origin + row * ((metre * PERIOD_M) >> along_level[mine])
        begun += len(flat.texels)
    along = np.where(seen, depth * metre, 0).astype(np.int32)
    mask = np.where(seen, ((metre * PERIOD_M) >> along_level) - 1, 0).astype(np.int32)
    return _Aim(base, along, along_level, mask, depth)


class _View:
    """One colour plane: for each pixel the texel it shows, as a base index and a position along the street."""

    def __init__(self, lens: Lens, maps: list[_Ripmap], metre: int, step: int, like: _View | None = None) -> None:
        self.texels = np.concatenate([np.zeros(1, np.uint8), *(flat.texels for flat in maps)])
        self.aim: _Aim = like.aim if like is not None else _aim(lens, metre, step, maps)
        self.depth = self.aim.depth
        self.out = np.zeros(self.depth.shape, np.uint8)
        self._index = np.zeros(self.depth.shape, np.int32)
        self._wide = np.zeros(self.depth.shape, np.uint16)

    def finish(self, sky: Floats, veil: float, neutral: float) -> None:
        """Fix the sky, the haze of distance towards `veil`, and the lens's darker corners."""
        self._sky = sky[: self.depth.shape[0], : self.depth.shape[1]].astype(np.uint8)
        clear = np.exp(-self.depth / (_FAR * 0.45)).astype(np.float32)
        rows, columns = (np.linspace(-1, 1, count, dtype=np.float32) for count in self.depth.shape)
        corner = 1 - 0.16 * np.clip(rows[:, None] ** 2 + columns[None, :] ** 2 - 0.5, 0, None)
        self._gain = (clear * corner * 256).astype(np.uint16)
        self._lift = ((veil * (1 - clear) * corner + neutral * (1 - corner)) * 256).astype(np.uint16)

    def draw(self, shift: int) -> None:
        """Fill `out` for a street moved by `shift` texels."""
        index, wide = self._index, self._wide
        np.add(self.aim.along, np.int32(shift), out=index)
        np.right_shift(index, self.aim.level, out=index)
        np.bitwise_and(index, self.aim.mask, out=index)
        np.add(index, self.aim.base, out=index)
        np.take(self.texels, index, out=self.out, mode="clip")
        hidden = self.out == 0
        np.multiply(self.out, self._gain, out=wide, dtype=np.uint16, casting="unsafe")
        np.add(wide, self._lift, out=wide)
        np.right_shift(wide, 8, out=wide)
        np.copyto(self.out, wide, casting="unsafe")
        np.copyto(self.out, self._sky, where=hidden)


def _level(texels: NDArray[Any], levels: int) -> Index:
    level: Index = np.clip(np.log2(np.maximum(texels, 1e-6)) + 0.25, 0, levels - 1).astype(np.int32)
    return level


def _mixed(one: Floats, other: Floats) -> Floats:
    """Mean of two planes; beside nothing (0: sky) the other stands alone, so that roofs keep their colour."""
    return np.where((one == 0) | (other == 0), np.maximum(one, other), (one + other) / 2)


def _halved(plane: Floats) -> Floats:
    return _mixed(_mixed(plane[0::2, 0::2], plane[0::2, 1::2]), _mixed(plane[1::2, 0::2], plane[1::2, 1::2]))


@dataclass(frozen=True)
class _Ripmap:
    """A surface of `rows` rows at every pair of reductions (along, across), flat; `begins` says where each begins."""

    texels: Bytes
    begins: Index
    rows: int


def _ripmap(surface: Floats) -> _Ripmap:
    table = np.zeros((_LEVELS_ALONG, _LEVELS_ACROSS), np.int32)
    parts: list[Bytes] = []
    begun = 0
    narrow = surface
    for across in range(_LEVELS_ACROSS):
        level = narrow
        for along in range(_LEVELS_ALONG):
            table[along, across] = begun
            parts.append(np.clip(level, 0, 255).astype(np.uint8).ravel())
            begun += level.size
            level = _mixed(level[:, 0::2], level[:, 1::2]) if along + 1 < _LEVELS_ALONG else level
        if across + 1 < _LEVELS_ACROSS:
            narrow = _mixed(narrow[0::2], narrow[1::2])
    return _Ripmap(np.concatenate(parts), table, len(surface))


def _sky(lens: Lens, light: Light, random: np.random.Generator) -> Floats:
    rows = np.clip(1 - np.arange(lens.height, dtype=np.float32) / lens.centre[1], 0, 1)[:, None, None]
    blend = rows**0.7
    picture = np.array(light.horizon, np.float32) * (1 - blend) + np.array(light.zenith, np.float32) * blend
    picture = np.repeat(picture, lens.width, axis=1)
    if light.night:
        glow = np.exp(-rows * 6) * np.array((0.16, 0.10, 0.05), np.float32)
        stars = random.random((lens.height, lens.width, 1)) > 0.9995
        picture = picture + glow + stars * 0.4 * rows
    else:
        picture = picture + _clouds(lens, random)[:, :, None] * 0.5 * (1 - picture) * np.minimum(1, rows * 4)
    sky: Floats = np.clip(picture * 255, 1, 255).astype(np.float32)
    return sky


def _clouds(lens: Lens, random: np.random.Generator) -> Floats:
    total = np.zeros((lens.height, lens.width), np.float32)
    for number in range(1, 6):
        grain = random.random((3 * 2**number, 2 * 2**number)).astype(np.float32)
        big = Image.fromarray(grain).resize((lens.width, lens.height), Image.Resampling.BICUBIC)
        total += np.asarray(big, np.float32) / 1.8**number
    clouds: Floats = np.clip((total - 0.62) * 3, 0, 1).astype(np.float32)
    return clouds


def _either(which: Mask, yes: float, no: float) -> Floats:
    return np.where(which, np.float32(yes), np.float32(no))


def _ground(random: np.random.Generator, light: Light) -> tuple[Floats, Mask]:
    """Pavements, kerbs, asphalt and markings: rows across the street at twice METRE, columns along it."""
    wide = int((RIGHT_WALL - LEFT_WALL) * 2 * METRE) // 32 * 32 + 32
    x = (np.arange(wide, dtype=np.float32) / (2 * METRE) + LEFT_WALL)[:, None]
    z = (np.arange(LENGTH, dtype=np.float32) / METRE)[None, :]
    rough = random.standard_normal((wide, LENGTH), np.float32) * 3 + noise(random, (wide, LENGTH), 32) * 3
    road = (x > CURB_LEFT) & (x < CURB_RIGHT)
    kerb = (np.abs(x - CURB_LEFT) < 0.09) | (np.abs(x - CURB_RIGHT) < 0.09)
    grey = _either(road, 74, 138) + rough * _either(road, 1.3, 0.8)
    slab = ((x % 0.6) < 0.022) | (((z + _either((x // 0.6) % 2 > 0, 0.5, 0)) % 1.0) < 0.025)
    grey = np.where(~road & slab, grey - 34, grey)
    grey = np.where(kerb, rough + _either(z % 1.0 < 0.03, 142, 168), grey)
    middle = (np.abs(x - (CURB_LEFT + CURB_RIGHT) / 2) < 0.07) & ((z % 4.0) < 1.6)
    parking = (np.abs(x - (CURB_RIGHT - 2.05)) < 0.05) & ((z % 1.0) < 0.5)
    crossing = (np.abs(z - 41) < 1.7) & road & (((x - CURB_LEFT) % 1.0) < 0.52)
    worn = 190 + rough * 4
    grey = np.where((middle | parking | crossing) & road, worn, grey)
    cover = ((x + 4.4) ** 2 + (z - 24) ** 2 < 0.34**2) | ((x + 2.9) ** 2 + (z - 55) ** 2 < 0.34**2)
    grey = np.where(cover, _either(((x + z) * 14) % 2 < 1, 62, 52), grey)
    colour = np.stack([grey * 1.01, grey, grey * 0.97], axis=-1).astype(np.float32)
    return lit(colour, lamp_light(x[::8, 0].astype(np.float32), light, 0.0), light), np.ones(colour.shape[:2], np.bool_)
