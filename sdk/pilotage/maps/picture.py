"""A picture and a JSON with its north, west, south and east edges in WGS84 degrees."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.contract import FILL_RGB
from pilotage.errors import MapError
from pilotage.geo import LocalFrame
from pilotage.maps import GSD_RANGE_M, Bounds
from pilotage.values import Rgb

_MAX_ASPECT_ERROR = 0.05


class PictureMap:
    """PNG, JPEG or anything OpenCV decodes; an alpha channel of 0 means no data."""

    def __init__(self, path: Path, *, corners: Path | None = None) -> None:
        self._bounds = _read_corners(path, corners)
        decoded = _decode(path)
        if decoded is None:
            raise MapError(f"{path}: not a picture that can be decoded: give a PNG, JPEG or GeoTIFF")
        if decoded.dtype != np.uint8:
            decoded = np.asarray(cv2.convertScaleAbs(decoded, alpha=255.0 / max(float(decoded.max()), 1.0)))
        if decoded.ndim == 2:
            decoded = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_GRAY2BGR))
        self._valid = (decoded[..., 3] > 0) if decoded.shape[2] == 4 else np.ones(decoded.shape[:2], bool)
        self._rgb: Rgb = np.ascontiguousarray(decoded[..., 2::-1])
        self._rgb[~self._valid] = FILL_RGB
        rows, columns = self._valid.shape
        north_m, east_m = self._extent_m()
        self._gsd_north_m, self._gsd_east_m = north_m / rows, east_m / columns
        _check_pixels(path, self._gsd_north_m, self._gsd_east_m)

    def _extent_m(self) -> tuple[float, float]:
        frame = self._bounds.frame()
        north, east = frame.to_local(self._bounds.north, self._bounds.east)
        return 2 * north, 2 * east

    @property
    def bounds(self) -> Bounds:
        """Its edges."""
        return self._bounds

    @property
    def gsd_m(self) -> float:
        """Its own ground pixel."""
        return float(self._gsd_north_m + self._gsd_east_m) / 2

    def read(
        self, frame: LocalFrame, *, top_north_m: float, left_east_m: float, rows: int, columns: int, gsd_m: float
    ) -> tuple[Rgb, NDArray[np.bool_]]:
        """Return a window in local metres."""
        north_m, west_m = frame.to_local(self._bounds.north, self._bounds.west)
        step_x, step_y = gsd_m / self._gsd_east_m, gsd_m / self._gsd_north_m
        left, top = (left_east_m - west_m) / self._gsd_east_m, (north_m - top_north_m) / self._gsd_north_m
        height, width = self._valid.shape
        r0, r1 = _clip(top - 2, top + rows * step_y + 2, height)
        c0, c1 = _clip(left - 2, left + columns * step_x + 2, width)
        if r0 >= r1 or c0 >= c1:
            return np.full((rows, columns, 3), FILL_RGB, np.uint8), np.zeros((rows, columns), bool)
        rgb, alpha = self._rgb[r0:r1, c0:c1], self._valid[r0:r1, c0:c1].astype(np.uint8) * 255
        fx, fy = 1.0, 1.0
        if max(step_x, step_y) > 1.25:  # average first, then place: a warp alone would skip pixels
            size = (max(1, round((c1 - c0) / step_x)), max(1, round((r1 - r0) / step_y)))
            fx, fy = size[0] / (c1 - c0), size[1] / (r1 - r0)
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            alpha = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.uint8)
        # pixel centres: source = (target + 0.5) * step + offset - 0.5
        matrix = np.array(
            [
                [step_x * fx, 0, (0.5 * step_x + left - c0) * fx - 0.5],
                [0, step_y * fy, (0.5 * step_y + top - r0) * fy - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        out = cv2.warpAffine(rgb, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        seen = cv2.warpAffine(alpha, matrix, (columns, rows), flags=flags, borderValue=0) > 127
        out[~seen] = FILL_RGB
        return np.asarray(out, np.uint8), np.asarray(seen)

    def close(self) -> None:
        """Nothing is open."""


def _clip(low: float, high: float, size: int) -> tuple[int, int]:
    return max(math.floor(low), 0), min(math.ceil(high), size)


def _decode(path: Path) -> NDArray[Any] | None:
    try:
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise MapError(
            f"{path}: OpenCV cannot take this picture ({error.err}): give a GeoTIFF when it is large"
        ) from error


def _read_corners(path: Path, corners: Path | None) -> Bounds:
    candidates = [corners] if corners is not None else [path.with_suffix(".corners.json"), path.parent / "corners.json"]
    found = next((c for c in candidates if c.is_file()), None)
    if found is None:
        raise MapError(
            f"{path}: where is it? no {' or '.join(str(c) for c in candidates)}: write a JSON with north, west, south, "
            "east in WGS84 degrees, or give --corners"
        )
    try:
        raw = json.loads(found.read_text(encoding="utf-8"))
        north, west, south, east = (float(raw[key]) for key in ("north", "west", "south", "east"))
    except KeyError as error:
        raise MapError(f"{found}: {error} is missing: give north, west, south, east in WGS84 degrees") from error
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MapError(
            f"{found}: cannot be read as corners ({error}): give north, west, south, east in degrees"
        ) from error
    edges = f"north {north}, south {south}, west {west}, east {east}"
    if not all(map(math.isfinite, (north, west, south, east))):
        raise MapError(f"{found}: corners must be finite numbers, got {edges}")
    if not (-85 <= south < north <= 85):
        raise MapError(f"{found}: north must lie above south, both within -85..85 degrees, got {edges}")
    if not (-180 <= west < east <= 180):
        raise MapError(f"{found}: west must lie left of east, both within -180..180 degrees, got {edges}")
    return Bounds(north, west, south, east)


def _check_pixels(path: Path, gsd_north_m: float, gsd_east_m: float) -> None:
    low, high = GSD_RANGE_M
    if not (low <= gsd_north_m <= high and low <= gsd_east_m <= high):
        raise MapError(
            f"{path}: its corners make a pixel {gsd_north_m:.3g} x {gsd_east_m:.3g} m, outside {low}..{high} m: "
            "check the corners"
        )
    if abs(gsd_north_m / gsd_east_m - 1) > _MAX_ASPECT_ERROR:
        raise MapError(
            f"{path}: its corners make a pixel {gsd_north_m:.3f} m high and {gsd_east_m:.3f} m wide: they do not "
            "belong to this picture"
        )
