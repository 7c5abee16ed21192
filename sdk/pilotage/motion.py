"""Ground motion between frames: how far the vehicle went since a keyframe, from the ground alone.

It carries the track over land that the map does not resolve (closed woods, crops), without borrowing the autopilot's
own estimate. Both frames are north-up and metric already, so the motion is one small alignment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pilotage.rectify import Patch
from pilotage.refine import Field, RefineConfig, align


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """When a keyframe is used up, and what is believed."""

    baseline_s: float = 0.8  # long enough that a shaky attitude matters little, short enough to overlap
    max_baseline_s: float = 2.0
    margin: float = 0.19  # of the patch: how far the ground may move
    min_strength: float = 0.45  # same day, same light: far above what two days give
    tilt_jitter_deg: float = 0.35  # frame to frame
    accel_std_m_s2: float = 1.5  # the speed of the middle of the baseline is taken for that of its end


@dataclass(frozen=True, slots=True)
class Velocity:
    """Metres a second over the ground, and 1 sigma per axis."""

    north_m_s: float
    east_m_s: float
    std_m_s: float


@dataclass(frozen=True, slots=True)
class _Key:
    time_s: float
    patch: Patch
    edges: Field


class GroundMotion:
    """Keeps one keyframe. Measurements do not share frames, so that their errors are independent."""

    def __init__(self, config: MotionConfig, refine: RefineConfig) -> None:
        self._config, self._refine = config, refine
        self._key: _Key | None = None

    def update(self, patch: Patch, edges: Field, *, time_s: float, height_m: float) -> Velocity | None:
        """Compare with the keyframe when it is old enough; None otherwise, or when the ground does not tell."""
        key = self._key
        if key is not None and 0 <= time_s - key.time_s < self._config.baseline_s:
            return None
        self._key = _Key(time_s, patch, edges)
        if key is None or not 0 < time_s - key.time_s <= self._config.max_baseline_s:
            return None
        margin = round(self._config.margin * edges.shape[0])
        middle = (slice(margin, -margin), slice(margin, -margin))
        found = align(key.edges[middle], key.patch.covered[middle], edges, self._refine)
        if found is None or found.strength < self._config.min_strength:
            return None
        dt_s = time_s - key.time_s
        # the keyframe's centre lies (down, right) of this patch's centre: the ground moved back, the vehicle forth
        north_m = key.patch.offset_north_m - patch.offset_north_m + found.shift_down_px * patch.gsd_m
        east_m = key.patch.offset_east_m - patch.offset_east_m - found.shift_right_px * patch.gsd_m
        jitter_m = math.sqrt(2) * height_m * math.tan(math.radians(self._config.tilt_jitter_deg))
        std_m_s = math.hypot(jitter_m / dt_s, self._config.accel_std_m_s2 * dt_s / 2)
        return Velocity(north_m / dt_s, east_m / dt_s, std_m_s)
