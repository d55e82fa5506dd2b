"""What stands or moves in the demonstration street: lamps, trees, cars, silhouettes. Flat pictures, drawn, no asset.

Each is drawn once, large, then kept at the sizes met. Silhouettes have no face: they are nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from bwc.demonstration.footage_paint import Bytes, Light, to_yuv

PHASES: Final = 6
"""Pictures of one step of a walk."""

_SUPER: Final = 3
_UNDER: Final = 0.15
"""Metres shown below the ground line, for the shadow."""
_SKIN: Final = ((222, 178, 150), (170, 124, 96), (116, 82, 64), (238, 200, 172))
_COATS: Final = (
    (52, 64, 92),
    (110, 44, 44),
    (64, 76, 60),
    (148, 128, 96),
    (56, 52, 58),
    (164, 150, 140),
    (34, 84, 110),
)
_HAIR: Final = ((46, 34, 28), (92, 66, 40), (28, 26, 26), (150, 146, 140), (120, 84, 44))
_TROUSERS: Final = ((38, 44, 62), (30, 30, 34), (78, 72, 66), (50, 58, 84))
_CARS: Final = ((176, 178, 182), (44, 48, 56), (150, 36, 34), (226, 226, 222), (36, 62, 104), (92, 102, 88))

_HEIGHTS: Final = {"walker": 1.86, "leaving": 1.86, "car": 2.3, "lamp": 6.0, "tree": 6.4}
"""Metres shown by each picture, from the ground."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Figure:
    """A thing to draw: `name` and `variant` choose the picture, `phase` its moment."""

    name: str
    variant: int = 0
    phase: int = 0


@dataclass(frozen=True)
class _Print:
    """A figure at one resolution: Y, Cb, Cr already multiplied by opacity, and what shows through (0 to 255), at full
    size for Y and at half size for Cb and Cr.
    """

    planes: tuple[Bytes, Bytes, Bytes]
    through: Bytes
    half_through: Bytes


class Wardrobe:
    """Draws each figure once, keeps it at a few resolutions, lays it on pictures at any size."""

    def __init__(self, light: Light, haze: tuple[float, ...]) -> None:
        self._light = light
        self._haze = tuple(round(part) for part in haze)
        self._prints: dict[Figure, list[_Print]] = {}

    def lay(
        self, figure: Figure, planes: tuple[Bytes, Bytes, Bytes], at: tuple[float, float], scale: float, clear: float
    ) -> None:
        """Lay `figure` on Y, Cb and Cr planes with its foot at pixel `at` (column, row), `scale` pixels a metre,
        `clear` from 0 (lost in the haze) to 1.
        """
        prints = self._prints.get(figure)
        if prints is None:
            prints = self._prints[figure] = self._print(figure)
        high = max(1.0, (_HEIGHTS[figure.name] + _UNDER) * scale / 2)
        level = next((one for one in prints if one.half_through.shape[0] <= high), prints[-1])
        wide = high * level.half_through.shape[1] / level.half_through.shape[0]
        left, top = at[0] / 2 - wide / 2, (at[1] + _UNDER * scale) / 2 - high
        strength = round(256 * clear)
        for number, plane in enumerate(planes):
            by = 2 if number == 0 else 1
            through = level.through if number == 0 else level.half_through
            box = (round(left) * by, round(top) * by, round(wide * by), round(high * by))
            _blend(plane, level.planes[number], through, box, strength, self._haze[number])

    def _print(self, figure: Figure) -> list[_Print]:
        picture = _DRAWN[figure.name](figure.variant, figure.phase, self._light).convert("RGBa")
        prints = []
        while True:
            picture = picture.crop((0, 0, picture.width & ~1, picture.height & ~1))
            rgba = np.asarray(picture, np.float32)
            cover = rgba[..., 3] / 255
            y, cb, cr = to_yuv(rgba)
            blue, red = (_byte(_half(part - 128 * (1 - cover))) for part in (cb, cr))
            planes = (_byte(y - 16 * (1 - cover)), blue, red)
            prints.append(_Print(planes, _byte(255 * (1 - cover)), _byte(255 * (1 - _half(cover)))))
            if min(picture.size) < 8:
                return prints
            picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)


def _blend(
    plane: Bytes, picture: Bytes, through: Bytes, box: tuple[int, int, int, int], strength: int, haze: int
) -> None:
    """Lay `picture`, stretched to `box` (left, top, width, height), on `plane`."""
    left, top, wide, high = box
    x, y, right, bottom = max(0, left), max(0, top), min(plane.shape[1], left + wide), min(plane.shape[0], top + high)
    if x >= right or y >= bottom:
        return
    rows = (np.arange(y - top, bottom - top) * picture.shape[0]) // high
    columns = (np.arange(x - left, right - left) * picture.shape[1]) // wide
    see = through.take(rows, 0).take(columns, 1).astype(np.uint16)
    over = picture.take(rows, 0).take(columns, 1).astype(np.uint16)
    over *= np.uint16(strength)
    over += (255 - see) * np.uint16(haze * (256 - strength) >> 8)
    under = plane[y:bottom, x:right]
    see *= under
    see += 255
    see >>= 8
    over >>= 8
    see += over
    np.copyto(under, np.minimum(see, 255), casting="unsafe")


def _byte(plane: NDArray[Any]) -> Bytes:
    byte: Bytes = np.clip(np.rint(plane), 0, 255).astype(np.uint8)
    return byte


def _half(plane: NDArray[Any]) -> NDArray[Any]:
    half: NDArray[Any] = (plane[0::2, 0::2] + plane[0::2, 1::2] + plane[1::2, 0::2] + plane[1::2, 1::2]) / 4
    return half


class _Canvas:
    """A transparent picture `wide` by `high` metres, drawn in metres from its foot's centre, `scale` pixels each."""

    def __init__(self, wide: float, high: float, scale: int, light: Light) -> None:
        self._scale = scale * _SUPER
        self._middle, self._high = wide / 2, high
        self._light = light
        self._shadow = 0.0
        self._image = Image.new("RGBA", (int(wide * self._scale), int((high + _UNDER) * self._scale)))
        self._draw = ImageDraw.Draw(self._image)

    def shade(self, colour: Colour, factor: float = 1.0) -> Colour:
        """`colour` as the hour shows it, `factor` for its turn to the light."""
        by = [0.50, 0.45, 0.42] if self._light.night else [1.0, 1.0, 1.0]
        return (
            min(255, int(colour[0] * by[0] * factor)),
            min(255, int(colour[1] * by[1] * factor)),
            min(255, int(colour[2] * by[2] * factor)),
        )

    def limb(self, points: list[tuple[float, float]], thick: float, colour: Colour) -> None:
        """A rounded line through `points`."""
        at = [self._at(*point) for point in points]
        wide = thick * self._scale
        self._draw.line(at, colour, round(wide), joint="curve")
        for x, y in at:
            self._draw.ellipse((x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2), colour)

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon([self._at(*point) for point in points], colour)

    def disc(self, x: float, y: float, across: float, down: float, colour: tuple[int, ...]) -> None:
        """A filled ellipse of half-widths `across` and `down`."""
        a, b = self._at(x - across, y + down), self._at(x + across, y - down)
        self._draw.ellipse((*a, *b), colour)

    def box(self, x: float, y: float, wide: float, high: float, colour: tuple[int, ...], round_by: float = 0) -> None:
        """A rounded rectangle from its lower left corner."""
        a, b = self._at(x, y + high), self._at(x + wide, y)
        self._draw.rounded_rectangle((*a, *b), round_by * self._scale, colour)

    def glow(self, x: float, y: float, reach: float, colour: Colour, strength: int) -> None:
        """A soft light over what is drawn."""
        layer = Image.new("RGBA", self._image.size, (*colour, 0))
        a, b = self._at(x - reach, y + reach), self._at(x + reach, y - reach)
        ImageDraw.Draw(layer).ellipse((*a, *b), (*colour, strength))
        self._image.alpha_composite(layer.filter(ImageFilter.GaussianBlur(reach * self._scale * 0.3)))
        self._draw = ImageDraw.Draw(self._image)

    def shadow(self, wide: float) -> None:
        """Ask for a soft shadow under the foot, `wide` metres to each side."""
        self._shadow = wide

    def done(self) -> Image.Image:
        """The picture, smoothed to its scale, on its shadow."""
        size = (self._image.width // _SUPER, self._image.height // _SUPER)
        picture = self._image.resize(size, Image.Resampling.BOX)
        strip = int(0.4 * self._scale / _SUPER)
        layer = Image.new("RGBA", (size[0], strip))
        lift = size[1] - strip
        a, b = self._at(-self._shadow, 0.09), self._at(self._shadow, -0.09)
        box = (a[0] / _SUPER, a[1] / _SUPER - lift, b[0] / _SUPER, b[1] / _SUPER - lift)
        ImageDraw.Draw(layer).ellipse(box, (0, 0, 0, 120))
        ground = Image.new("RGBA", size)
        ground.paste(layer.filter(ImageFilter.GaussianBlur(0.03 * self._scale / _SUPER)), (0, lift))
        return Image.alpha_composite(ground, picture)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return (self._middle + x) * self._scale, (self._high - y) * self._scale


def _facing(variant: int, phase: int, light: Light) -> Image.Image:
    """Somebody walking towards us; `phase` PHASES stands still, PHASES + 1 speaks."""
    canvas, dark, hem = _body(variant, phase, light)
    skin = canvas.shade(_SKIN[variant % len(_SKIN)])
    hair = canvas.shade(_HAIR[variant % len(_HAIR)])
    canvas.shape([(-0.012, 1.45), (0.012, 1.45), (0.008, hem), (-0.008, hem)], dark)
    canvas.shape([(-0.09, 1.49), (0.09, 1.49), (0, 1.33)], canvas.shade((214, 210, 204), 0.9))
    canvas.limb([(0, 1.44), (0, 1.52)], 0.12, canvas.shade(_SKIN[variant % len(_SKIN)], 0.82))
    if variant % 4 == 1:
        for side in (-1, 1):
            canvas.limb([(side * 0.115, 1.68), (side * 0.13, 1.46)], 0.09, hair)
    canvas.disc(0, 1.655, 0.112, 0.146, skin)
    canvas.disc(0, 1.735, 0.122, 0.09, hair)
    if variant % 5 == 4:
        canvas.limb([(-0.12, 1.48), (0.12, 1.48)], 0.1, canvas.shade((150, 46, 50)))
    return canvas.done()


def _leaving(variant: int, phase: int, light: Light) -> Image.Image:
    """Somebody walking away from us."""
    canvas, _, _ = _body(variant, phase, light)
    hair = canvas.shade(_HAIR[variant % len(_HAIR)])
    canvas.limb([(0, 1.44), (0, 1.52)], 0.12, canvas.shade(_SKIN[variant % len(_SKIN)], 0.75))
    canvas.disc(0, 1.665, 0.116, 0.15, hair)
    if variant % 4 == 1:
        canvas.limb([(0, 1.62), (0, 1.42)], 0.2, hair)
    if variant % 2 == 0:
        canvas.box(-0.165, 0.94, 0.33, 0.44, canvas.shade(_COATS[(variant + 3) % len(_COATS)], 0.8), 0.09)
        canvas.box(-0.12, 1.0, 0.24, 0.16, canvas.shade(_COATS[(variant + 3) % len(_COATS)], 0.6), 0.04)
    return canvas.done()


def _body(variant: int, phase: int, light: Light) -> tuple[_Canvas, Colour, float]:
    """Legs, arms and coat of a walker; also the coat's darker colour and the height of its hem."""
    canvas = _Canvas(1.1, _HEIGHTS["walker"], 240, light)
    swing = math.sin(2 * math.pi * phase / PHASES) if phase < PHASES else 0.0
    coat = canvas.shade(_COATS[variant % len(_COATS)])
    dark = canvas.shade(_COATS[variant % len(_COATS)], 0.72)
    trousers = canvas.shade(_TROUSERS[variant % len(_TROUSERS)])
    skin = canvas.shade(_SKIN[variant % len(_SKIN)])
    canvas.shadow(0.42)
    for side in (-1, 1):
        lift = max(0.0, side * swing) * 0.16
        foot = (side * 0.10 + side * 0.01, 0.07 + lift)
        canvas.limb([(side * 0.09, 0.9), (side * 0.115, 0.48 + lift * 0.7), foot], 0.145, trousers)
        canvas.disc(foot[0], foot[1] - 0.02, 0.085, 0.055, canvas.shade((34, 30, 30)))
    for side in (-1, 1):
        reach = side * swing * 0.09
        hand = (side * 0.31, 0.80 - reach * 0.4)
        elbow = (side * 0.31, 1.09)
        if phase == PHASES + 1 and side == 1:
            elbow, hand = (0.33, 1.12), (0.23, 1.3)
        canvas.limb([(side * 0.215, 1.39), elbow, hand], 0.12, dark)
        canvas.disc(*hand, 0.055, 0.06, skin)
    hem = 0.62 if variant % 3 == 0 else 0.84
    canvas.shape([(-0.25, 1.43), (0.25, 1.43), (0.215, 1.1), (0.235, hem), (-0.235, hem), (-0.215, 1.1)], coat)
    canvas.limb([(-0.19, 1.42), (0.19, 1.42)], 0.14, coat)
    return canvas, dark, hem


def _car(variant: int, phase: int, light: Light) -> Image.Image:
    """A car; `phase` 0 parked seen from behind, 1 coming with its lights, 2 parked seen from the front."""
    canvas = _Canvas(3.4, _HEIGHTS["car"], 120, light)
    paint = _CARS[variant % len(_CARS)]
    body, low, roof = canvas.shade(paint), canvas.shade(paint, 0.72), canvas.shade(paint, 1.12)
    black, glass = canvas.shade((26, 27, 30)), canvas.shade((66, 80, 94))
    canvas.shadow(1.15)
    for side in (-1, 1):
        canvas.box(side * 0.68 - 0.13, 0.0, 0.26, 0.5, black, 0.08)
    canvas.shape([(-0.62, 1.44), (0.62, 1.44), (0.82, 0.9), (-0.82, 0.9)], roof)
    canvas.limb([(-0.56, 1.42), (0.56, 1.42)], 0.1, roof)
    canvas.shape([(-0.56, 1.37), (0.56, 1.37), (0.72, 0.94), (-0.72, 0.94)], glass)
    canvas.shape([(-0.50, 1.35), (-0.16, 1.35), (-0.38, 0.96), (-0.68, 0.96)], canvas.shade((104, 122, 138)))
    canvas.box(-0.89, 0.24, 1.78, 0.72, body, 0.16)
    canvas.box(-0.87, 0.24, 1.74, 0.26, low, 0.1)
    canvas.box(-0.28, 0.5, 0.56, 0.13, canvas.shade((226, 226, 220)), 0.02)
    for side in (-1, 1):
        canvas.disc(side * 0.93, 0.97, 0.08, 0.06, low)
        if phase == 0:
            canvas.box(side * 0.72 - 0.14, 0.66, 0.28, 0.17, canvas.shade((176, 28, 30), 1.3), 0.05)
        elif light.night and phase == 1:
            canvas.glow(side * 0.66, 0.70, 0.56, (255, 236, 196), 150)
            canvas.disc(side * 0.66, 0.70, 0.15, 0.12, (255, 250, 232))
        else:
            canvas.box(side * 0.68 - 0.17, 0.62, 0.34, 0.18, canvas.shade((216, 224, 228)), 0.07)
    if phase:
        canvas.box(-0.36, 0.66, 0.72, 0.13, black, 0.05)
    return canvas.done()


def _lamp(variant: int, phase: int, light: Light) -> Image.Image:
    """A street lamp, its arm to the right (variant 0) or the left."""
    canvas = _Canvas(4.8, _HEIGHTS["lamp"], 70, light)
    side = 1 if variant == 0 else -1
    iron = canvas.shade((62, 70, 72), 0.9)
    canvas.shadow(0.3)
    canvas.limb([(0, 0.0), (0, 0.8)], 0.17, iron)
    canvas.limb([(0, 0.8), (0, 4.7), (side * 0.14, 5.0), (side * 0.5, 5.1), (side * 0.9, 5.05)], 0.085, iron)
    canvas.box(side * 0.95 - 0.3, 4.92, 0.6, 0.12, iron, 0.05)
    if light.night:
        canvas.glow(side * 0.95, 4.86, 0.62, (255, 206, 130), 170)
        canvas.disc(side * 0.95, 4.9, 0.24, 0.075, (255, 244, 214))
    else:
        canvas.disc(side * 0.95, 4.92, 0.22, 0.05, (226, 228, 220))
    return canvas.done()


def _tree(variant: int, phase: int, light: Light) -> Image.Image:
    """A plane tree with a railing at its foot."""
    canvas = _Canvas(4.6, _HEIGHTS["tree"], 56, light)
    random = np.random.default_rng(90 + variant)
    bark = canvas.shade((112, 98, 82))
    canvas.shadow(0.7)
    canvas.limb([(0, 0), (0.03, 2.4), (-0.05, 3.4)], 0.26, bark)
    canvas.limb([(0, 2.3), (0.7, 3.6)], 0.13, bark)
    canvas.limb([(0, 2.5), (-0.7, 3.7)], 0.13, bark)
    for layer in range(3):
        for _ in range(70):
            angle, away = random.uniform(0, 2 * math.pi), random.uniform(0, 1) ** 0.5
            x, y = math.cos(angle) * away * 1.75, 4.45 + math.sin(angle) * away * 1.55
            lit = 0.55 + 0.16 * layer + 0.12 * (y - 4.4) + random.uniform(-0.08, 0.08)
            leaf = canvas.shade((104, 124, 62), max(0.3, lit))
            canvas.disc(x + 0.1 * layer, y + 0.12 * layer, random.uniform(0.16, 0.34), random.uniform(0.13, 0.26), leaf)
    for bar in range(-3, 4):
        canvas.limb([(bar * 0.13, 0), (bar * 0.13, 0.5)], 0.03, canvas.shade((40, 60, 48)))
    return canvas.done()


_DRAWN: Final[dict[str, Callable[[int, int, Light], Image.Image]]] = {
    "walker": _facing,
    "leaving": _leaving,
    "car": _car,
    "lamp": _lamp,
    "tree": _tree,
}
