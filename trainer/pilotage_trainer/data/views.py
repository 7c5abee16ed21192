"""From a picture as it lies on disk to the network's input: crop, polar transform, heading, field of view, size."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ModelError
from pilotage.values import Rgb

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class View:
    """What is done to every picture of one branch."""

    height_px: int
    width_px: int
    middle_half: bool = False  # rows H/4 to 3H/4 only: CVACT's full spheres
    polar: bool = False  # a north-up square becomes a strip that resembles a panorama
    turn_deg: float = 0.0  # a panorama's heading is unknown by up to this, either way: 180 is not known at all
    fov_deg: float = 360.0  # of a panorama: the columns about its (turned) middle

    def __post_init__(self) -> None:
        if self.height_px < 8 or self.width_px < 8:
            raise ModelError(f"view of {self.height_px}x{self.width_px} px: both must be 8 or more")
        if not 0 <= self.turn_deg <= 180:
            raise ModelError(f"turn_deg is {self.turn_deg:g}: give 0 (heading known) to 180 (unknown)")
        if not 0 < self.fov_deg <= 360:
            raise ModelError(f"fov_deg is {self.fov_deg:g}: give more than 0, at most 360")
        if self.polar and (self.turn_deg > 0 or self.fov_deg < 360 or self.middle_half):
            raise ModelError("polar is for aerial squares; turn_deg, fov_deg and middle_half are for panoramas")


def prepare(image: Rgb, view: View, rng: np.random.Generator) -> Rgb:
    """Return (height_px, width_px, 3) uint8. `rng` draws the unknown heading, and nothing where it is known."""
    if view.middle_half:
        rows = image.shape[0]
        image = image[rows // 4 : rows - rows // 4]
    if view.polar:
        return polar(image, view.height_px, view.width_px)
    if view.turn_deg > 0 or view.fov_deg < 360:
        image = turned(image, rng.uniform(-view.turn_deg, view.turn_deg), view.fov_deg)
    return resized(image, view.height_px, view.width_px)


def resized(image: Rgb, height_px: int, width_px: int) -> Rgb:
    """Resize; shrinking averages, so that nothing aliases."""
    if image.shape[:2] == (height_px, width_px):
        return np.ascontiguousarray(image)
    shrinks = image.shape[0] >= height_px and image.shape[1] >= width_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (width_px, height_px), interpolation=how), np.uint8)


def turned(panorama: Rgb, heading_deg: float, fov_deg: float = 360.0) -> Rgb:
    """Return the columns that look `fov_deg` about `heading_deg` (clockwise from the panorama's middle)."""
    width = panorama.shape[1]
    columns = max(1, round(width * fov_deg / 360))
    first = round(width / 2 + width * heading_deg / 360 - columns / 2)
    return np.ascontiguousarray(panorama[:, np.arange(first, first + columns) % width])


def polar(square: Rgb, height_px: int, width_px: int) -> Rgb:
    """Unroll a north-up square about its middle, as SAFA does: south at both edges, the middle in the last row."""
    size = square.shape[0]
    if square.shape[1] != size:
        raise ModelError(f"the polar transform takes a square, got {square.shape[1]}x{size} px")
    x, y = _polar_map(size, height_px, width_px)
    return np.asarray(cv2.remap(square, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.uint8)


@functools.lru_cache(maxsize=8)
def _polar_map(size: int, height_px: int, width_px: int) -> tuple[Array, Array]:
    radius = size / 2 * (height_px - 1 - np.arange(height_px)[:, None]) / height_px
    angle = 2 * math.pi * np.arange(width_px)[None, :] / width_px
    return (
        np.asarray(size / 2 - radius * np.sin(angle), np.float32),
        np.asarray(size / 2 + radius * np.cos(angle), np.float32),
    )


def unpolar(strip: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    """Roll a polar strip (or a map of its activations) back into a north-up square; 0 outside the circle."""
    height, width = strip.shape[:2]
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float64)
    down, left = rows - size / 2, size / 2 - columns
    row = height - 1 - np.hypot(down, left) * height / (size / 2)
    column = np.mod(np.arctan2(left, down), 2 * math.pi) * width / (2 * math.pi)
    wrapped = np.concatenate([strip, strip[:, :1]], axis=1)  # between the last column and the first
    out = cv2.remap(
        wrapped, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(out)
