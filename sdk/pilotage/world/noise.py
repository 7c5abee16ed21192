"""Smooth random fields: the raw material of land."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def smooth(rng: np.random.Generator, side_px: int, *, cell_px: float) -> Field:
    """Return (side, side) noise of mean 0 and 1 sigma about 1 whose bumps are `cell_px` wide."""
    cells = max(4, int(np.ceil(side_px / cell_px)) + 3)
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    span = max(int(side_px / cell_px * 1.0) + 1, 2)
    big = cv2.resize(grid, None, fx=side_px / span, fy=side_px / span, interpolation=cv2.INTER_CUBIC)
    start_row, start_column = rng.integers(0, max(1, big.shape[0] - side_px), size=2)
    return np.ascontiguousarray(big[start_row : start_row + side_px, start_column : start_column + side_px])


def fractal(rng: np.random.Generator, side_px: int, *, cell_px: float, octaves: int, gain: float = 0.5) -> Field:
    """Return a sum of ever finer, ever weaker noise, made at the coarsest size that shows the finest bump."""
    finest_px = cell_px / 2 ** (octaves - 1)
    shrink = max(1.0, finest_px / 4)
    small = int(np.ceil(side_px / shrink))
    total = np.zeros((small, small), np.float32)
    weight = 1.0
    for octave in range(octaves):
        total += weight * smooth(rng, small, cell_px=cell_px / shrink / 2**octave)
        weight *= gain
    if small == side_px:
        return total
    return np.asarray(cv2.resize(total, (side_px, side_px), interpolation=cv2.INTER_LINEAR), np.float32)


def grain(rng: np.random.Generator, side_px: int) -> Field:
    """Return fine texture of mean 0, 1 sigma about 1: white noise with a little softness."""
    white = rng.standard_normal((side_px, side_px), dtype=np.float32)
    return np.asarray(cv2.GaussianBlur(white, (3, 3), 0.6) * 1.6, np.float32)
