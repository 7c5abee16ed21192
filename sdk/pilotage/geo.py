"""Local metres: the one mapping between WGS84 degrees and the north/east metres that everything computes in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

WGS84_A_M = 6378137.0
WGS84_E2 = 6.69437999014e-3


def metres_per_degree(lat_deg: float) -> tuple[float, float]:
    """Return metres per degree (of latitude, of longitude) on the WGS84 ellipsoid at this latitude."""
    sin2 = math.sin(math.radians(lat_deg)) ** 2
    meridian_m = WGS84_A_M * (1 - WGS84_E2) / (1 - WGS84_E2 * sin2) ** 1.5
    prime_vertical_m = WGS84_A_M / math.sqrt(1 - WGS84_E2 * sin2)
    return math.radians(meridian_m), math.radians(prime_vertical_m * math.cos(math.radians(lat_deg)))


@dataclass(frozen=True, slots=True)
class LocalFrame:
    """North/east metres about an origin, linear in latitude and longitude.

    Linear means exactly invertible and exactly a pixel grid for a north-up geographic map. The price is a scale
    error that grows with distance north or south of the origin (0.2 % at 10 km and latitude 50), which a region
    pack shares between its tiles and its fixes, so that it cancels in the position.
    """

    origin_lat_deg: float
    origin_lon_deg: float
    _north_m_per_deg: float = field(init=False, repr=False)
    _east_m_per_deg: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not (-85.0 <= self.origin_lat_deg <= 85.0 and -180.0 <= self.origin_lon_deg <= 180.0):
            raise ValueError(
                f"origin {self.origin_lat_deg}, {self.origin_lon_deg} is outside latitude -85..85, longitude "
                "-180..180: give WGS84 degrees"
            )
        north, east = metres_per_degree(self.origin_lat_deg)
        object.__setattr__(self, "_north_m_per_deg", north)
        object.__setattr__(self, "_east_m_per_deg", east)

    def to_local(self, lat_deg: float, lon_deg: float) -> tuple[float, float]:
        """Return (north_m, east_m) of a WGS84 position."""
        dlon_deg = (lon_deg - self.origin_lon_deg + 180.0) % 360.0 - 180.0
        return (lat_deg - self.origin_lat_deg) * self._north_m_per_deg, dlon_deg * self._east_m_per_deg

    def to_wgs84(self, north_m: float, east_m: float) -> tuple[float, float]:
        """Return (lat_deg, lon_deg) of a local position."""
        lon_deg = self.origin_lon_deg + east_m / self._east_m_per_deg
        return self.origin_lat_deg + north_m / self._north_m_per_deg, (lon_deg + 180.0) % 360.0 - 180.0

    def to_local_array(self, lat_lon_deg: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (N, 2) north/east metres of (N, 2) latitude/longitude degrees."""
        delta = lat_lon_deg - np.array([self.origin_lat_deg, self.origin_lon_deg])
        delta[:, 1] = (delta[:, 1] + 180.0) % 360.0 - 180.0
        return np.asarray(delta * np.array([self._north_m_per_deg, self._east_m_per_deg]))


def haversine_m(lat0_deg: float, lon0_deg: float, lat1_deg: float, lon1_deg: float) -> float:
    """Return the great-circle distance on a sphere of 6,371,004 m."""
    phi0, phi1 = math.radians(lat0_deg), math.radians(lat1_deg)
    half = math.sin((phi1 - phi0) / 2) ** 2
    half += math.cos(phi0) * math.cos(phi1) * math.sin(math.radians(lon1_deg - lon0_deg) / 2) ** 2
    return 2 * 6371004.0 * math.asin(min(1.0, math.sqrt(half)))
