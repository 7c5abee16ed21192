"""What every data set is to the trainer: queries, references, and which belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ImageError, ModelError
from pilotage.values import Rgb

_EARTH_M = 6_371_004.0  # the sphere that VIGOR's labels are made with


class Images(Protocol):
    """A row of pictures, decoded or rendered when asked for."""

    def __len__(self) -> int:
        """Return how many there are."""

    def name(self, index: int) -> str:
        """Return what a report calls it: a path, or a place."""

    def read(self, index: int, rng: np.random.Generator) -> Rgb:
        """Return (H, W, 3) uint8, or raise ImageError. What is rendered draws its light and errors from `rng`."""


class ImageFiles:
    """Pictures on disk."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        """Return the path."""
        return str(self._paths[index])

    def read(self, index: int, rng: np.random.Generator) -> Rgb:
        """Decode it."""
        path = self._paths[index]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise ImageError(f"{path}: not a picture that can be read")
        return np.ascontiguousarray(image[..., ::-1])


@dataclass(frozen=True, slots=True)
class Split:
    """Queries and references of one part of a data set; a query belongs to every reference with its id.

    Positions are metres in one Cartesian frame: earth-centred for latitudes and longitudes (`earth_xyz_m`), easting,
    northing and 0 for UTM. Straight-line distance orders neighbours as the great circle does.
    """

    name: str
    query: Images
    aerial: Images
    query_id: NDArray[np.int64]  # (Q,)
    aerial_id: NDArray[np.int64]  # (R,)
    semi_id: NDArray[np.int64] | None = None  # (Q, S): ids that show the place too, counted as wrong; -1 for none
    query_xyz_m: NDArray[np.float64] | None = None  # (Q, 3)
    aerial_xyz_m: NDArray[np.float64] | None = None  # (R, 3)
    apart_m: float = 0.0  # in a batch, other pairs nearer than this are neither positive nor negative

    def __post_init__(self) -> None:
        shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
            "query_id": (self.query_id.shape, (len(self.query),)),
            "aerial_id": (self.aerial_id.shape, (len(self.aerial),)),
        }
        if self.semi_id is not None:
            shapes["semi_id"] = (self.semi_id.shape, (len(self.query), *self.semi_id.shape[1:2]))
        if self.query_xyz_m is not None:
            shapes["query_xyz_m"] = (self.query_xyz_m.shape, (len(self.query), 3))
        if self.aerial_xyz_m is not None:
            shapes["aerial_xyz_m"] = (self.aerial_xyz_m.shape, (len(self.aerial), 3))
        for field, (got, wanted) in shapes.items():
            if got != wanted:
                raise ModelError(f"{self.name}: {field} must be of shape {wanted}, got {got}")
        if len(self.query) == 0:
            raise ModelError(f"{self.name}: holds no queries")
        alone = np.setdiff1d(self.query_id, self.aerial_id)
        if len(alone):
            raise ModelError(f"{self.name}: {len(alone)} ids have no reference, the first is {alone[0]}")
        if self.apart_m > 0 and self.query_xyz_m is None:
            raise ModelError(f"{self.name}: apart_m is {self.apart_m:g}, but its queries have no positions")


def earth_xyz_m(lat_deg: NDArray[np.float64], lon_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 3) earth-centred metres on a sphere."""
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    return _EARTH_M * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
