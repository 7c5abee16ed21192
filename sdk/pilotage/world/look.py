"""What optics, sensor and weather do to a picture after the light has entered the lens."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.values import Rgb


@dataclass(frozen=True, slots=True)
class Look:
    """One camera on one day. The defaults are a good camera in good light."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    vignette: float = 0.12  # darkening in the corners
    defocus_px: float = 0.5  # 1 sigma
    motion_px: float = 0.0
    motion_rad: float = 0.0
    haze: float = 0.0
    noise: float = 2.0  # grey levels, 1 sigma

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        """Draw a plausible camera and day."""
        exposure, warmth = rng.uniform(0.78, 1.25), rng.uniform(-0.07, 0.07)
        return cls(
            gain=(exposure * (1 + warmth), exposure, exposure * (1 - warmth)),
            gamma=rng.uniform(0.85, 1.2),
            vignette=rng.uniform(0, 0.3),
            defocus_px=rng.uniform(0.2, 1.0),
            motion_px=max(0.0, rng.uniform(-2, 4)),
            motion_rad=rng.uniform(0, np.pi),
            haze=max(0.0, rng.uniform(-0.1, 0.18)),
            noise=rng.uniform(0.5, 5),
        )


def take(picture: Rgb, look: Look, rng: np.random.Generator) -> Rgb:
    """Return the picture as this camera records it."""
    rows, columns = picture.shape[:2]
    image = picture
    if look.defocus_px > 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), look.defocus_px), np.uint8)
    if look.motion_px >= 2:
        image = np.asarray(cv2.filter2D(image, -1, _streak(look.motion_px, look.motion_rad)), np.uint8)
    level = np.arange(256, dtype=np.float32) / 255
    curves = np.empty((256, 1, 3), np.uint8)
    for channel in range(3):
        tone = (level * look.gain[channel]).clip(0, 1) ** look.gamma
        curves[:, 0, channel] = np.clip((tone * (1 - look.haze) + 0.7 * look.haze) * 255, 0, 255)
    image = np.asarray(cv2.LUT(image, curves), np.uint8)
    if look.vignette <= 0 and look.noise <= 0:
        return image
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] ** 2
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None] ** 2
    factor = 1 - look.vignette / 2 * (x + y)
    # one plane of noise for all channels, drawn from a table: drawing a million normals would take longer than the rays
    table = rng.standard_normal(4096, dtype=np.float32) * look.noise
    noise = table[rng.integers(0, 4096, (rows, columns), dtype=np.uint16)]
    out = np.empty_like(image)
    for channel in range(3):
        out[..., channel] = np.clip(image[..., channel] * factor + noise + 0.5, 0, 255)
    return out


def _streak(length_px: float, angle_rad: float) -> NDArray[np.float32]:
    side = int(length_px) | 1
    kernel = np.zeros((side, side), np.float32)
    middle = side // 2
    dx, dy = np.cos(angle_rad) * middle, np.sin(angle_rad) * middle
    cv2.line(
        kernel,
        (round(middle - dx), round(middle - dy)),
        (round(middle + dx), round(middle + dy)),
        1.0,
    )
    return np.asarray(kernel / kernel.sum(), np.float32)
