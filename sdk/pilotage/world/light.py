"""Sun: shading by slope and cast shadows."""

from __future__ import annotations

import cv2
import numpy as np

from pilotage.world.noise import Field
from pilotage.world.style import Day


def sunlight(surface_m: Field, day: Day, *, gsd_m: float, tallest_m: float = 30.0) -> Field:
    """Return the brightness of every pixel: about 1 in the open, 0.45 in shadow, roofs by their slope."""
    up = np.float32(np.sin(day.sun_elevation_rad))
    flat = np.float32(np.cos(day.sun_elevation_rad))
    east = np.float32(np.sin(day.sun_azimuth_rad)) * flat
    north = np.float32(np.cos(day.sun_azimuth_rad)) * flat
    slope_e = cv2.Scharr(surface_m, cv2.CV_32F, 1, 0, scale=1 / (32 * gsd_m))
    slope_s = cv2.Scharr(surface_m, cv2.CV_32F, 0, 1, scale=1 / (32 * gsd_m))
    lambert = (up - east * slope_e + north * slope_s) / cv2.sqrt(1 + slope_e * slope_e + slope_s * slope_s)
    lit = np.clip(0.42 + 0.58 * lambert / up, 0.3, 1.35)
    dark = cv2.GaussianBlur(_shadow(surface_m, day, gsd_m=gsd_m, tallest_m=tallest_m), (3, 3), 0.8)
    return np.asarray(lit * (1 - dark) + dark * np.minimum(lit, 1) * 0.47, np.float32)


def _shadow(surface_m: Field, day: Day, *, gsd_m: float, tallest_m: float) -> Field:
    """1 where something towards the sun stands higher than the sun's ray; horizons doubled, not stepped."""
    drop = np.tan(day.sun_elevation_rad) * gsd_m  # metres a pixel
    towards = np.array([np.sin(day.sun_azimuth_rad), -np.cos(day.sun_azimuth_rad)])  # column, row
    horizon = surface_m.copy()
    reach_px = tallest_m / drop
    step = 1.0
    while step < reach_px:
        shift = np.array([[1, 0, towards[0] * step], [0, 1, towards[1] * step]], np.float32)
        moved = cv2.warpAffine(
            horizon,
            shift,
            horizon.shape[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        horizon = np.maximum(horizon, moved - np.float32(drop * step))
        step *= 2
    return np.asarray(np.clip((horizon - surface_m - 0.3) * 1.5, 0, 1), np.float32)
