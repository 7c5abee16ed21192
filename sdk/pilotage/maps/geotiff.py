"""GeoTIFF in any coordinate system, through rasterio (workstation only)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pilotage.contract import FILL_RGB
from pilotage.errors import MapError, require
from pilotage.geo import LocalFrame, metres_per_degree
from pilotage.maps import GSD_RANGE_M, Bounds
from pilotage.values import Rgb


class GeoTiffMap:
    """Reads windows, never the whole file."""

    def __init__(self, path: Path) -> None:
        self._rasterio = require("rasterio", extra="maps", purpose="reading a GeoTIFF")
        self._path = path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", self._rasterio.errors.NotGeoreferencedWarning)  # we say so ourselves
                self._file = self._rasterio.open(path)
        except self._rasterio.errors.RasterioIOError as error:
            raise MapError(f"{path}: not a GeoTIFF that can be read ({error})") from error
        try:
            self._check_bands()
            self._bounds, self._gsd_m = self._place()
            with self._reading():
                self._stretch = self._levels()
        except BaseException:
            self._file.close()
            raise

    def _check_bands(self) -> None:
        from rasterio.enums import ColorInterp

        if self._file.crs is None:
            raise MapError(f"{self._path}: has no coordinate system: give --corners instead, or georeference it")
        if self._file.colorinterp[0] == ColorInterp.palette:
            raise MapError(f"{self._path}: has a colour table: expand it with `gdal_translate -expand rgb` first")
        if np.dtype(self._file.dtypes[0]).kind not in "uif":
            raise MapError(f"{self._path}: has {self._file.dtypes[0]} pixels: give 8 or 16-bit imagery")

    def _place(self) -> tuple[Bounds, float]:
        """Return the edges and the ground pixel."""
        from rasterio.warp import transform, transform_bounds

        try:
            west, south, east, north = transform_bounds(self._file.crs, "EPSG:4326", *self._file.bounds, densify_pts=21)
            gsd_m = self._pixel_m(transform)
        except Exception as error:  # rasterio raises GDAL's own classes, which it does not document
            raise MapError(f"{self._path}: its coordinate system has no place on Earth: georeference it") from error
        if not (-85 <= south < north <= 85 and -180 <= west < east <= 180):
            raise MapError(
                f"{self._path}: lies at north {north}, south {south}, west {west}, east {east}: check its CRS"
            )
        if not GSD_RANGE_M[0] <= gsd_m <= GSD_RANGE_M[1]:
            raise MapError(f"{self._path}: has pixels of {gsd_m:.3g} m, outside {GSD_RANGE_M}: check its CRS")
        return Bounds(north, west, south, east), gsd_m

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except self._rasterio.errors.RasterioError as error:
            raise MapError(f"{self._path}: its pixels cannot be read, the file is damaged: copy it again") from error

    def _pixel_m(self, transform: Callable[..., tuple[list[float], list[float]]]) -> float:
        """Return the ground length of one pixel step down at the centre of the file."""
        row, column = self._file.height // 2, self._file.width // 2
        grid = self._file.transform
        steps = [(grid.a * column + grid.b * r + grid.c, grid.d * column + grid.e * r + grid.f) for r in (row, row + 1)]
        lons, lats = transform(self._file.crs, "EPSG:4326", [x for x, _ in steps], [y for _, y in steps])
        north_m, east_m = metres_per_degree(lats[0])
        return math.hypot((lats[1] - lats[0]) * north_m, (lons[1] - lons[0]) * east_m)

    def _levels(self) -> tuple[float, float] | None:
        """Return what to map to 0 and 255 when the file is not 8-bit."""
        if self._file.dtypes[0] == "uint8":
            return None
        scale = max(1, max(self._file.width, self._file.height) // 1000)
        shape = (max(1, self._file.height // scale), max(1, self._file.width // scale))
        values = self._file.read(1, out_shape=shape, masked=True).compressed()
        values = values[np.isfinite(values)]
        if values.size == 0:
            raise MapError(f"{self._path}: holds no data at all: check its nodata value")
        low, high = np.percentile(values, [1, 99])
        return float(low), float(high if high > low else low + 1)

    @property
    def bounds(self) -> Bounds:
        """Its edges."""
        return self._bounds

    @property
    def gsd_m(self) -> float:
        """Its own ground pixel, north-south."""
        return self._gsd_m

    def read(
        self, frame: LocalFrame, *, top_north_m: float, left_east_m: float, rows: int, columns: int, gsd_m: float
    ) -> tuple[Rgb, NDArray[np.bool_]]:
        """Return a window in local metres: a window of degrees, because LocalFrame is linear in them."""
        from rasterio.enums import Resampling
        from rasterio.transform import from_bounds
        from rasterio.vrt import WarpedVRT

        north, west = frame.to_wgs84(top_north_m, left_east_m)
        south, east = frame.to_wgs84(top_north_m - rows * gsd_m, left_east_m + columns * gsd_m)
        how = Resampling.average if gsd_m > 1.25 * self._gsd_m else Resampling.bilinear
        with (
            self._reading(),
            WarpedVRT(
                self._file,
                crs="EPSG:4326",
                transform=from_bounds(west, south, east, north, columns, rows),
                width=columns,
                height=rows,
                resampling=how,
                add_alpha=self._file.nodata is None and "alpha" not in {c.name for c in self._file.colorinterp},
            ) as view,
        ):
            bands = [1, 2, 3] if self._file.count >= 3 else [1, 1, 1]
            data = view.read(bands)
            valid = view.dataset_mask() > 0
        if self._stretch is not None:
            low, high = self._stretch
            valid &= np.isfinite(data).all(axis=0)
            data = np.clip((data.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
            data[:, ~valid] = 0  # not a number would warn as it turns into one
        rgb = np.ascontiguousarray(np.moveaxis(data, 0, -1).astype(np.uint8))
        rgb[~valid] = FILL_RGB
        return rgb, valid

    def close(self) -> None:
        """Close the file."""
        self._file.close()
