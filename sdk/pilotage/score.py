"""Score fixes against the truth: availability, error given a fix, false fixes and coverage are separate numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage.geo import LocalFrame
from pilotage.values import Fix, Truth

FALSE_ERROR_M, FALSE_EPH_M = 50.0, 15.0


@dataclass(frozen=True, slots=True)
class Score:
    """None stands where there is nothing to measure."""

    frames: int
    fixes: int
    availability: float
    first_fix_s: float | None  # after the first frame
    median_error_m: float | None
    p95_error_m: float | None
    max_error_m: float | None
    false_fix_rate: float  # of the fixes: more than 50 m off while claiming better than 15 m
    coverage_1sigma: float | None  # share of single-axis errors inside the claimed sigma; 0.68 is honest
    coverage_95: float | None  # share of fixes inside the claimed 95 % radius

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return asdict(self)


def errors_m(fixes: Sequence[Fix], truths: Sequence[Truth]) -> NDArray[np.float64]:
    """Return (N, 2) north and east errors; NaN where there was no fix."""
    out = np.full((len(fixes), 2), np.nan)
    for i, (fix, truth) in enumerate(zip(fixes, truths, strict=True)):
        if fix.has_position:
            north_m, east_m = LocalFrame(truth.lat_deg, truth.lon_deg).to_local(fix.lat_deg, fix.lon_deg)
            out[i] = north_m, east_m
    return out


def score(fixes: Sequence[Fix], truths: Sequence[Truth]) -> Score:
    """Score a flight."""
    off = errors_m(fixes, truths)
    have = np.isfinite(off[:, 0])
    count = int(have.sum())
    if count == 0:
        return Score(len(fixes), 0, 0.0, None, None, None, None, 0.0, None, None)
    given = [fix for fix in fixes if fix.has_position]
    miss = np.hypot(*off[have].T)
    sigma = np.array([[fix.std_north_m, fix.std_east_m] for fix in given])
    eph = np.array([fix.std_horizontal_m for fix in given])
    first = given[0].stamp_ns - fixes[0].stamp_ns
    return Score(
        frames=len(fixes),
        fixes=count,
        availability=count / len(fixes),
        first_fix_s=first / 1e9,
        median_error_m=float(np.median(miss)),
        p95_error_m=float(np.quantile(miss, 0.95)),
        max_error_m=float(miss.max()),
        false_fix_rate=float(np.mean((miss > FALSE_ERROR_M) & (eph < FALSE_EPH_M))),
        coverage_1sigma=float(np.mean(np.abs(off[have]) <= sigma)),
        coverage_95=float(np.mean(miss <= 2.4477 * eph)),
    )
