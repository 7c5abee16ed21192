"""Find the shift that aligns a rectified patch with the map pixels, to a fraction of a pixel, and say how good it is.

Season, light and shadows change colours and even turn dark into light, but edges mostly stay where they are. So both
pictures become a field of edge *orientations* (the doubled angle, so that an edge whose contrast flips is the same
edge), with the strength evened out locally, and the fields are correlated under the mask of what the frame saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.values import Rgb


@dataclass(frozen=True, slots=True)
class RefineConfig:
    """How peaks are found and which are believed."""

    edge_sigmas_px: tuple[float, ...] = (1.2, 3.0)  # fine edges place it, coarse ones find it in woods and fields
    even_sigma_px: float = 12.0  # edge strength is divided by its mean over this neighbourhood
    even_floor: float = 12.0  # ... and this many grey levels, so that furrows and noise stay small
    even_power: float = 0.7  # below 1: a few hard edges (water, roofs) must not outvote all the soft ones
    # Strength is score x distinct. Of 2400 wrong places 1 % reached 0.15, 0.1 % 0.19, none 0.25; of 150 right ones half
    # lay above 0.60 and 5 % below 0.20 (benchmarks/refine_strength.py).
    min_strength: float = 0.20
    min_strength_prior: float = 0.15  # where a track says within a few metres where to look
    other_px: int = 8  # a peak further away than this is another place


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where the patch's centre lies in the searched window, and how far to trust it."""

    shift_down_px: float  # from the centre of the window
    shift_right_px: float
    score: float  # 0..1
    distinct: float  # peak / best other peak, >= 1
    std_px: float  # 1 sigma per axis from the shape of the peak

    @property
    def strength(self) -> float:
        """How far this is from chance: agreement times distinctness, the latter never worth more than 4."""
        return self.score * min(self.distinct, 4.0)


Field = NDArray[np.float32]


def edge_field(image: Rgb, valid: NDArray[np.bool_], config: RefineConfig) -> Field:
    """Return (H, W, 2 * scales) float32: doubled-angle edge fields with evened strength, zero where not valid."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    inside = cv2.erode(valid.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=1).astype(np.float32)
    box = (int(2 * config.even_sigma_px) | 1,) * 2
    share = np.maximum(cv2.blur(inside, box), np.float32(0.05))
    field = np.empty((*grey.shape, 2 * len(config.edge_sigmas_px)), np.float32)
    for scale, sigma_px in enumerate(config.edge_sigmas_px):
        smooth = cv2.GaussianBlur(grey, (0, 0), sigma_px)
        gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3)
        gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3)
        strength = cv2.magnitude(gx, gy) * inside
        even = np.asarray(cv2.blur(strength, box), np.float32) / share + np.float32(config.even_floor)
        weight = np.asarray(cv2.pow(strength / even, config.even_power), np.float32)
        weight *= inside / np.maximum(strength * strength, 1e-6)
        field[..., 2 * scale] = (gx * gx - gy * gy) * weight
        field[..., 2 * scale + 1] = 2 * gx * gy * weight
    return field


def align(
    patch_field: Field, covered: NDArray[np.bool_], window_field: Field, config: RefineConfig
) -> Alignment | None:
    """Slide the patch over the window. None when there is nothing to correlate."""
    template = patch_field * covered[..., None]
    energy = float(np.sum(template * template))
    if energy < 1e-3:
        return None
    numerator = cv2.matchTemplate(window_field, template, cv2.TM_CCORR)
    power = np.einsum("ijk,ijk->ij", window_field, window_field)
    window_energy = cv2.matchTemplate(power, covered.astype(np.float32), cv2.TM_CCORR)
    floor = 0.05 * energy + 1e-3  # a nearly empty window must not score high by division
    surface = numerator / np.sqrt(energy * np.maximum(window_energy, floor))
    return _peak(surface.astype(np.float32), config)


def _peak(surface: NDArray[np.float32], config: RefineConfig) -> Alignment:
    row, column = np.unravel_index(int(np.argmax(surface)), surface.shape)
    score = float(surface[row, column])
    rows, columns = np.ogrid[: surface.shape[0], : surface.shape[1]]
    others = surface[np.maximum(abs(rows - row), abs(columns - column)) > config.other_px]
    other = float(others.max()) if others.size else 0.0
    d_row, d_column, std_px = _subpixel(surface, int(row), int(column))
    return Alignment(
        shift_down_px=float(row) + d_row - (surface.shape[0] - 1) / 2,
        shift_right_px=float(column) + d_column - (surface.shape[1] - 1) / 2,
        score=score,
        distinct=score / other if other > 1e-6 else math.inf,
        std_px=std_px,
    )


def _subpixel(surface: NDArray[np.float32], row: int, column: int) -> tuple[float, float, float]:
    """Return (down, right, 1 sigma) in pixels: a parabola per axis; a blunt peak beside rivals is uncertain."""
    if not (0 < row < surface.shape[0] - 1 and 0 < column < surface.shape[1] - 1):
        return 0.0, 0.0, 3.0
    centre = float(surface[row, column])
    shift, bend = [], []
    for before, after in (
        (surface[row - 1, column], surface[row + 1, column]),
        (surface[row, column - 1], surface[row, column + 1]),
    ):
        curvature = max(2 * centre - float(before) - float(after), 1e-6)
        shift.append(float(np.clip(0.5 * (float(after) - float(before)) / curvature, -0.5, 0.5)))
        bend.append(curvature)
    noise = float(surface.std())
    return shift[0], shift[1], float(np.clip(math.sqrt(noise / min(bend)), 0.3, 6.0))
