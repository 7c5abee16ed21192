"""The synthetic world as arrays: a map, and the same ground as a camera sees it on another day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilotage.geo import LocalFrame
from pilotage.values import Rgb


@dataclass(frozen=True, slots=True)
class World:
    """Square, north-up grids that share one geometry: row 0 is the north edge, column 0 the west edge.

    The centre of pixel (row, col) lies at north_m = size_m/2 - (row + 0.5)*gsd_m, east_m = (col + 0.5)*gsd_m - size_m/2
    from the frame's origin, which is the centre of the world.
    """

    seed: int
    frame: LocalFrame
    size_m: float
    gsd_m: float
    map_rgb: Rgb  # the orthophoto in the pack: an older day, another season and sun
    scene_rgb: Rgb  # orthophoto colours of today, as the cameras see them: other season, sun, shadows, changed fields
    surface_m: NDArray[np.float32]  # today's surface (ground, buildings, trees), metres above mean sea level
    terrain_m: NDArray[np.float32]  # bare ground, metres above mean sea level

    @property
    def side_px(self) -> int:
        """Pixels along one side."""
        return int(self.map_rgb.shape[0])

    def corners(self) -> dict[str, float]:
        """Return the edges in WGS84 degrees, as `corners.json` wants them."""
        half_m = self.size_m / 2
        north, east = self.frame.to_wgs84(half_m, half_m)
        south, west = self.frame.to_wgs84(-half_m, -half_m)
        return {"north": north, "west": west, "south": south, "east": east, "gsd_m": self.gsd_m}
