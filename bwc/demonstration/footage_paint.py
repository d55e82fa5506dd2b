"""Colours, light and dimensions of the demonstration street, shared by what draws it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Index = NDArray[np.int32]
Mask = NDArray[np.bool_]

METRE: Final = 64
"""Texels a metre along the street."""

PERIOD_M: Final = 64
"""Metres after which the street repeats."""

LENGTH: Final = METRE * PERIOD_M
LEFT_WALL: Final = -11.0
RIGHT_WALL: Final = 2.6
EYE: Final = 1.4
"""Height of the camera on the chest, metres."""

WALL_M: Final = 16
LAMP_EVERY: Final = 16.0
CURB_RIGHT: Final = -1.3
CURB_LEFT: Final = -8.6


@dataclass(frozen=True)
class Light:
    """The hour: ambient colour, lamp colour, horizon and zenith, all as RGB 0 to 1; `night` switches lamps on."""

    night: bool
    ambient: tuple[float, float, float]
    lamp: tuple[float, float, float]
    horizon: tuple[float, float, float]
    zenith: tuple[float, float, float]


NIGHT: Final = Light(True, (0.13, 0.16, 0.25), (1.15, 0.84, 0.5), (0.13, 0.13, 0.19), (0.02, 0.03, 0.09))
DAY: Final = Light(False, (0.92, 0.93, 0.96), (0.0, 0.0, 0.0), (0.84, 0.88, 0.93), (0.36, 0.57, 0.86))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at `size` pixels; it has no accented capitals: see `plain`."""
    return ImageFont.load_default(size)


def plain(text: str) -> str:
    """`text` without accents, as the font needs."""
    return "".join(part for part in unicodedata.normalize("NFKD", text) if not unicodedata.combining(part))


def to_yuv(rgb: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """BT.601 limited-range Y, Cb, Cr of RGB (0 to 255)."""
    r, g, b = (rgb[..., channel].astype(np.float32) for channel in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    return y, 128 - 0.148 * r - 0.291 * g + 0.439 * b, 128 + 0.439 * r - 0.368 * g - 0.071 * b


def noise(random: np.random.Generator, shape: tuple[int, int], size: int) -> Floats:
    """Soft grain of `shape`, spots of `size` texels, that joins end to end along the street."""
    grain = random.standard_normal((shape[0] // size, shape[1] // size)).astype(np.float32)
    grain = np.pad(grain, ((0, 0), (0, 1)), mode="wrap")
    image = Image.fromarray(grain).resize((shape[1] + size, shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)[:, : shape[1]]


def lamp_light(across_m: Floats, light: Light, height: NDArray[Any] | float) -> Floats:
    """Light of the two rows of lamps on a surface, as `(len(across_m), LENGTH, 3)` at an eighth of the texels."""
    along = (np.arange(LENGTH // 8, dtype=np.float32) * 8 / METRE)[None, :]
    total = np.zeros((len(across_m), LENGTH // 8), np.float32)
    for side, first in ((CURB_RIGHT + 0.2, 6.0), (CURB_LEFT - 0.2, 14.0)):
        away = np.abs((along - first + LAMP_EVERY / 2) % LAMP_EVERY - LAMP_EVERY / 2)
        square = away**2 + (across_m[:, None] - side) ** 2 * 0.6 + (np.asarray(height) - 4.2) ** 2 * 0.22
        total += 1.5 / (1 + square / 8) ** 1.5
    return total[:, :, None] * np.array(light.lamp, np.float32)


def lit(colour: Floats, lamps: Floats, light: Light, glowing: Floats | None = None) -> Floats:
    """`colour` (0 to 255) under ambient and lamps, plus what glows by itself."""
    small = (lamps + np.array(light.ambient, np.float32)).clip(0, 2)
    size = (colour.shape[1], colour.shape[0])
    grown = [np.asarray(Image.fromarray(small[..., c]).resize(size, Image.Resampling.BILINEAR)) for c in range(3)]
    result = colour * np.stack(grown, axis=-1)
    if glowing is not None:
        result = np.maximum(result, glowing)
    shown: Floats = np.clip(result, 2, 255).astype(np.float32)
    return shown
