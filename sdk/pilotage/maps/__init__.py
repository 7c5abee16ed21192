"""Maps: georeferenced aerial imagery, read in local metres whatever the file says. One reader a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import MapError
from pilotage.geo import LocalFrame
from pilotage.values import Rgb

__all__ = ["GSD_RANGE_M", "Bounds", "Map", "open_map"]

GSD_RANGE_M = (0.01, 100.0)  # ground pixels that aerial imagery has


@dataclass(frozen=True, slots=True)
class Bounds:
    """Edges in WGS84 degrees."""

    north: float
    west: float
    south: float
    east: float

    def frame(self) -> LocalFrame:
        """Return local metres about the middle."""
        return LocalFrame((self.north + self.south) / 2, (self.west + self.east) / 2)


class Map(Protocol):
    """North-up imagery that can be read at any place and pixel size."""

    @property
    def bounds(self) -> Bounds:
        """Its edges."""

    @property
    def gsd_m(self) -> float:
        """Its own ground pixel."""

    def read(
        self, frame: LocalFrame, *, top_north_m: float, left_east_m: float, rows: int, columns: int, gsd_m: float
    ) -> tuple[Rgb, NDArray[np.bool_]]:
        """Return (pixels, where they are valid) of a window; averaged when the map is finer than asked for."""

    def close(self) -> None:
        """Let go of the file."""


def open_map(path: Path, *, corners: Path | None = None) -> Map:
    """Open a GeoTIFF, or a picture with its corners beside it."""
    from pilotage.maps.picture import PictureMap

    if not path.is_file():
        raise MapError(f"{path}: no such map file")
    if corners is None and path.suffix.lower() in (".tif", ".tiff"):
        from pilotage.maps.geotiff import GeoTiffMap

        return GeoTiffMap(path)
    return PictureMap(path, corners=corners)
