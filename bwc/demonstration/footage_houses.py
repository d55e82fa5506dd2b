"""Houses of the demonstration street: facades, windows, shutters, shops, painted on a strip that repeats."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from bwc.demonstration.footage_paint import (
    LENGTH,
    METRE,
    PERIOD_M,
    RIGHT_WALL,
    WALL_M,
    Floats,
    Light,
    Mask,
    font,
    lamp_light,
    lit,
    noise,
    plain,
)

_STUCCO: Final = ((214, 190, 150), (226, 208, 176), (196, 178, 160), (206, 166, 132), (188, 190, 184), (222, 198, 186))
_SHUTTERS: Final = ((96, 122, 128), (122, 96, 78), (84, 104, 84), (150, 150, 146), (70, 84, 116), (128, 62, 58))
_SHOPS: Final = (
    ("BOULANGERIE", (150, 92, 40)),
    ("PHARMACIE", (30, 122, 74)),
    ("CAFÉ DU MARCHÉ", (120, 34, 34)),
    ("LIBRAIRIE", (36, 66, 112)),
    ("COIFFURE", (66, 60, 72)),
    ("FLEURS", (94, 66, 110)),
    ("ÉPICERIE", (44, 96, 52)),
    ("PRESSE · TABAC", (142, 26, 30)),
)


def facades(random: np.random.Generator, light: Light) -> tuple[Floats, Mask]:
    """A row of houses, `WALL_M` metres high, top row first, and where it hides the sky."""
    size = (LENGTH, WALL_M * METRE)
    colour, glow = Image.new("RGB", size), Image.new("RGB", size)
    roofs = Image.new("L", size, 0)
    house = _House(ImageDraw.Draw(colour), ImageDraw.Draw(glow), ImageDraw.Draw(roofs), random, light.night)
    start = 0.0
    while start < PERIOD_M:
        wide = float(random.uniform(7, 13))
        if PERIOD_M - start - wide < 7:
            wide = PERIOD_M - start
        house.draw(start, wide)
        start += wide
    glowing = glow.filter(ImageFilter.GaussianBlur(1))
    paint = np.asarray(colour, np.float32) + noise(random, (size[1], size[0]), 16)[..., None] * 3
    height = (WALL_M - np.arange(0, size[1], 8, dtype=np.float32) / METRE)[:, None]
    lamps = lamp_light(np.full(len(height), RIGHT_WALL - 1.2, np.float32), light, height)
    shade = np.linspace(1.04, 0.86, size[1], dtype=np.float32)[:, None, None]
    result = lit(paint * shade, lamps, light, np.asarray(glowing, np.float32))
    return result, np.asarray(roofs) > 0


class _House:
    """Paints one house after another into three pictures: colours, lights, outline."""

    def __init__(
        self,
        colour: ImageDraw.ImageDraw,
        glow: ImageDraw.ImageDraw,
        outline: ImageDraw.ImageDraw,
        random: np.random.Generator,
        night: bool,
    ) -> None:
        self._colour, self._glow, self._outline = colour, glow, outline
        self._random, self._night = random, night

    def draw(self, start: float, wide: float) -> None:
        """A house from `start` metres, `wide` metres."""
        random = self._random
        storeys = int(random.integers(2, 5))
        top = 3.6 + storeys * 2.9
        stucco = _STUCCO[random.integers(len(_STUCCO))]
        self._box(start, 0, wide, top + 0.9, (142, 82, 62), outline=True)
        self._box(start, 0, wide, top, stucco)
        self._box(start, 0, wide, 0.55, tuple(int(part * 0.72) for part in stucco))
        self._box(start, top - 0.12, wide, 0.28, (236, 228, 212))
        self._box(start, 3.3, wide, 0.16, (228, 218, 200))
        self._box(start, 0, 0.05, top, tuple(int(part * 0.6) for part in stucco))
        shutter = _SHUTTERS[random.integers(len(_SHUTTERS))]
        columns = max(2, int(wide // 2.5))
        for column in range(columns):
            left = start + (column + 0.5) * wide / columns - 0.55
            for storey in range(storeys):
                self._window(left, 4.3 + storey * 2.9, shutter, storey == 0 and column % 2 == 0)
        if random.random() < 0.72:
            self._shop(start, wide)
        else:
            self._door(start + wide * 0.45, shutter)
            self._window(start + 1.0, 1.1, shutter, False)
            self._window(start + wide - 2.2, 1.1, shutter, False)

    def _window(self, left: float, bottom: float, shutter: tuple[int, int, int], balcony: bool) -> None:
        lit = self._random.random() < (0.42 if self._night else 0.0)
        self._box(left - 0.1, bottom - 0.1, 1.3, 1.95, (232, 226, 214))
        self._box(left, bottom, 1.1, 1.75, (58, 72, 88))
        if not self._night:
            self._box(left + 0.05, bottom + 0.9, 0.45, 0.8, (110, 134, 160))
        if lit:
            warm = [(255, 206, 128), (250, 190, 110), (236, 214, 170), (190, 206, 230)][self._random.integers(4)]
            self._light(left + 0.04, bottom + 0.04, 1.02, 1.67, warm)
            self._light(left + 0.04, bottom + 0.04, 0.22, 1.67, tuple(int(part * 0.62) for part in warm))
            self._light(left + 0.84, bottom + 0.04, 0.22, 1.67, tuple(int(part * 0.62) for part in warm))
            self._light(left + 0.52, bottom + 0.04, 0.06, 1.67, (70, 54, 36))
            self._light(left + 0.04, bottom + 1.15, 1.02, 0.05, (70, 54, 36))
        else:
            self._box(left + 0.52, bottom, 0.06, 1.75, (220, 216, 206))
            self._box(left, bottom + 1.15, 1.1, 0.05, (220, 216, 206))
        for side in (left - 0.66, left + 1.14):
            self._box(side, bottom - 0.02, 0.5, 1.8, shutter)
            for slat in np.arange(bottom + 0.1, bottom + 1.7, 0.16):
                self._box(side + 0.06, float(slat), 0.38, 0.03, tuple(int(part * 0.7) for part in shutter))
        if balcony:
            self._box(left - 0.7, bottom - 0.2, 2.5, 0.12, (206, 198, 184))
            for bar in np.arange(left - 0.68, left + 1.8, 0.14):
                self._box(float(bar), bottom - 0.1, 0.03, 0.85, (40, 42, 46))
            self._box(left - 0.7, bottom + 0.74, 2.5, 0.05, (40, 42, 46))

    def _shop(self, start: float, wide: float) -> None:
        name, colour = _SHOPS[self._random.integers(len(_SHOPS))]
        is_open = not self._night or self._random.random() < 0.6
        left, length = start + 0.4, wide - 0.8
        self._box(left, 0, length, 3.15, tuple(int(part * 0.8) for part in colour))
        self._box(left + 0.25, 0.5, length - 2.0, 1.85, (46, 56, 66) if self._night else (96, 112, 124))
        self._box(left + length - 1.45, 0.05, 1.1, 2.3, (52, 60, 68))
        if is_open and self._night:
            self._light(left + 0.25, 0.5, length - 2.0, 1.85, (218, 180, 118))
            self._light(left + 0.25, 2.1, length - 2.0, 0.25, (255, 244, 214))
            for shelf in (0.55, 1.05, 1.5):
                self._goods(left + 0.35, shelf, length - 2.2)
            self._light(left + length - 1.4, 0.1, 1.0, 2.2, (206, 172, 116))
            self._light(left + length - 1.28, 1.0, 0.76, 1.2, (226, 198, 146))
        elif not self._night:
            self._box(left + 0.4, 1.3, (length - 2.4) * 0.4, 0.95, (146, 164, 178))
        for split in np.arange(left + 0.25, left + length - 1.7, 1.5):
            self._box(float(split), 0.5, 0.07, 1.85, tuple(int(part * 0.6) for part in colour))
        self._sign(name, left, length, is_open and self._night)

    def _goods(self, left: float, shelf: float, length: float) -> None:
        """A lit shelf with things on it."""
        self._light(left, shelf, length, 0.05, (120, 88, 54))
        at = left
        while at < left + length - 0.4:
            wide, high = (float(part) for part in self._random.uniform((0.1, 0.12), (0.32, 0.34)))
            tint = self._random.uniform(0.45, 0.95)
            colour = tuple(
                int(part * tint)
                for part in ((214, 120, 70), (170, 150, 90), (120, 140, 150), (200, 180, 150))[int(at * 7) % 4]
            )
            self._light(at, shelf + 0.05, wide, high, colour)
            at += wide + float(self._random.uniform(0.02, 0.25))

    def _sign(self, name: str, left: float, length: float, glowing: bool) -> None:
        letters = font(int(0.62 * METRE))
        place = ((left + length / 2) * METRE, (WALL_M - 2.74) * METRE)
        self._colour.text(place, plain(name), (240, 232, 214), letters, anchor="mm")
        if glowing:
            self._glow.text(place, plain(name), (255, 240, 206), letters, anchor="mm")

    def _door(self, left: float, paint: tuple[int, int, int]) -> None:
        self._box(left - 0.15, 0, 1.5, 2.75, (216, 206, 190))
        self._box(left, 0, 1.2, 2.55, tuple(int(part * 0.75) for part in paint))
        self._box(left + 0.58, 0, 0.04, 2.2, (30, 30, 32))
        self._box(left, 2.2, 1.2, 0.3, (70, 80, 92))

    def _box(
        self, left: float, bottom: float, wide: float, high: float, colour: tuple[int, ...], outline: bool = False
    ) -> None:
        box = _pixels(left, bottom, wide, high)
        self._colour.rectangle(box, colour)
        self._glow.rectangle(box, 0)
        if outline:
            self._outline.rectangle(box, 255)

    def _light(self, left: float, bottom: float, wide: float, high: float, colour: tuple[int, ...]) -> None:
        self._glow.rectangle(_pixels(left, bottom, wide, high), colour)


def _pixels(left: float, bottom: float, wide: float, high: float) -> tuple[float, float, float, float]:
    return left * METRE, (WALL_M - bottom - high) * METRE, (left + wide) * METRE - 1, (WALL_M - bottom) * METRE
