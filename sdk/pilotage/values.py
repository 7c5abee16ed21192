"""The values every stage speaks: Frame in, Match between, Fix out."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage.camera import Camera

Rgb = NDArray[np.uint8]
"""(H, W, 3) uint8, red first."""


class Verdict(enum.Enum):
    """What one frame came to. Only MATCHED moves the track."""

    MATCHED = "matched"
    NO_MATCH = "no-match"  # nothing in the region looks like this frame
    AMBIGUOUS = "ambiguous"  # several places look like it, or it contradicts the track
    BAD_IMAGE = "bad-image"  # black, blank, saturated, of another size
    BAD_ATTITUDE = "bad-attitude"  # not finite
    BAD_HEIGHT = "bad-height"  # not finite or not above the ground
    BAD_TIME = "bad-time"  # not after the previous frame
    TILT_OUT_OF_RANGE = "tilt-out-of-range"
    TOO_LOW = "too-low"  # the frame covers too little of a tile
    TOO_HIGH = "too-high"  # the frame is coarser than the pack's map can use


class TrackState(enum.Enum):
    """What the track says of itself."""

    INIT = "INIT"  # no frame yet
    SEARCHING = "SEARCHING"  # frames, but no agreement on a place
    TRACKING = "TRACKING"
    DEGRADED = "DEGRADED"  # carried by prediction; the covariance grows
    LOST = "LOST"  # was tracking, is no more; nothing is published
    FAULT = "FAULT"  # the localiser itself failed


@dataclass(frozen=True, slots=True)
class Frame:
    """One exposure and how the vehicle says it was held. Nothing is trusted: the localiser gives verdicts."""

    image: Rgb
    stamp_ns: int  # exposure, any monotonic clock
    roll_rad: float
    pitch_rad: float
    yaw_rad: float  # of the body, clockwise from true north
    height_m: float  # of the camera above the ground below it
    camera: Camera


@dataclass(frozen=True, slots=True)
class Tile:
    """One north-up square of the map."""

    index: int
    lat_deg: float
    lon_deg: float
    size_m: float


@dataclass(frozen=True, slots=True)
class Match:
    """A tile retrieved for a frame; score is the cosine of the two descriptors."""

    tile: Tile
    score: float


@dataclass(frozen=True, slots=True)
class Fix:
    """A position with its covariance, heading, verdict and age; NaN where there is none."""

    stamp_ns: int
    state: TrackState
    verdict: Verdict
    lat_deg: float = math.nan
    lon_deg: float = math.nan
    std_north_m: float = math.nan
    std_east_m: float = math.nan
    cov_north_east_m2: float = 0.0
    velocity_north_m_s: float = math.nan
    velocity_east_m_s: float = math.nan
    std_velocity_m_s: float = math.nan
    heading_rad: float = math.nan  # clockwise from true north, corrected by the map where it could be
    std_heading_rad: float = math.nan
    age_s: float = math.inf  # since the last matched frame
    score: float = math.nan  # of the refinement that decided, 0..1

    @property
    def has_position(self) -> bool:
        """Whether this fix may be published."""
        return self.state in (TrackState.TRACKING, TrackState.DEGRADED) and math.isfinite(self.lat_deg)

    @property
    def std_horizontal_m(self) -> float:
        """The larger 1-sigma of the error ellipse: what eph or horiz_accuracy wants."""
        north, east = self.std_north_m**2, self.std_east_m**2
        root = math.sqrt(max(0.0, ((north - east) / 2) ** 2 + self.cov_north_east_m2**2))
        return math.sqrt((north + east) / 2 + root)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; numbers that do not exist are null."""

        def number(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "time_s": self.stamp_ns / 1e9,
            "state": self.state.value,
            "verdict": self.verdict.value,
            "lat": number(self.lat_deg),
            "lon": number(self.lon_deg),
            "std_north_m": number(self.std_north_m),
            "std_east_m": number(self.std_east_m),
            "cov_north_east_m2": self.cov_north_east_m2,
            "velocity_north_m_s": number(self.velocity_north_m_s),
            "velocity_east_m_s": number(self.velocity_east_m_s),
            "std_velocity_m_s": number(self.std_velocity_m_s),
            "heading_deg": number(math.degrees(self.heading_rad)),
            "age_s": number(self.age_s),
            "score": number(self.score),
        }


@dataclass(frozen=True, slots=True)
class Truth:
    """Where the camera really was at an exposure. Only simulators and surveys know."""

    stamp_ns: int
    lat_deg: float
    lon_deg: float
    alt_m: float  # above the map's datum (mean sea level)
