"""The demo's track.png: the region, where the vehicle was, and where the localiser said it was."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.score import errors_m
from pilotage.values import Rgb
from pilotage.world import World
from pilotage_bridge.demo import Flown

_SIDE_PX = 1200
_LEGEND_PX = 64
_GOOD, _FAIR, _POOR = (64, 224, 96), (255, 190, 40), (255, 60, 60)
_WHITE, _BLACK = (255, 255, 255), (16, 18, 22)


def draw_track(world: World, flight: Sequence[Flown]) -> Rgb:
    """Draw the truth as a white line and every fix as a dot coloured by its error."""
    scale = _SIDE_PX / world.side_px
    small = cv2.resize(world.map_rgb, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    picture: Rgb = np.ascontiguousarray(np.asarray(small * 0.82, np.uint8))

    def pixel(lat_deg: float, lon_deg: float) -> tuple[int, int]:
        north_m, east_m = world.frame.to_local(lat_deg, lon_deg)
        half_m = world.size_m / 2
        return (
            round((east_m + half_m) / world.gsd_m * scale * 8),
            round((half_m - north_m) / world.gsd_m * scale * 8),
        )

    line = np.array([pixel(f.truth.lat_deg, f.truth.lon_deg) for f in flight], np.int32)
    cv2.polylines(picture, [line], False, _BLACK, 7, cv2.LINE_AA, 3)
    cv2.polylines(picture, [line], False, _WHITE, 4, cv2.LINE_AA, 3)
    misses = np.hypot(*errors_m([f.fix for f in flight], [f.truth for f in flight]).T)
    for flown, miss_m in zip(flight, misses, strict=True):
        if flown.fix.has_position:
            colour = _GOOD if miss_m <= 5 else _FAIR if miss_m <= 15 else _POOR
            cv2.circle(picture, pixel(flown.fix.lat_deg, flown.fix.lon_deg), 20, colour, -1, cv2.LINE_AA, 3)
    _mark(picture, line, flight)
    _scale_bar(picture, 200 / world.gsd_m * scale)
    return np.vstack([picture, _legend()])


def _mark(picture: Rgb, line: NDArray[np.int32], flight: Sequence[Flown]) -> None:
    """Name where the flight starts, where the first fix came and where it ends."""
    first = next((i for i, f in enumerate(flight) if f.fix.has_position), None)
    labels = [(0, "start, no prior"), (len(flight) - 1, "end")]
    if first is not None:
        labels.append((first, f"first fix, {(flight[first].fix.stamp_ns - flight[0].fix.stamp_ns) / 1e9:.1f} s"))
    taken: list[int] = []
    for index, text in labels:
        x, y = (int(v) for v in line[index] // 8)
        cv2.circle(picture, (x, y), 9, _WHITE, 2, cv2.LINE_AA)
        row = y - 14
        while any(abs(row - other) < 28 for other in taken):
            row += 30
        taken.append(row)
        _text(picture, text, (min(x + 14, _SIDE_PX - 190), max(row, 20)))


def _text(picture: Rgb, text: str, place: tuple[int, int]) -> None:
    for colour, width in ((_BLACK, 4), (_WHITE, 1)):
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, width, cv2.LINE_AA)


def _scale_bar(picture: Rgb, length_px: float) -> None:
    left, row = 28, _SIDE_PX - 28
    for colour, width in ((_BLACK, 7), (_WHITE, 3)):
        cv2.line(picture, (left, row), (left + round(length_px), row), colour, width, cv2.LINE_AA)
    _text(picture, "200 m", (left, row - 12))
    cv2.arrowedLine(picture, (_SIDE_PX - 40, 90), (_SIDE_PX - 40, 36), _WHITE, 3, cv2.LINE_AA, 0, 0.35)
    _text(picture, "N", (_SIDE_PX - 47, 116))


def _legend() -> Rgb:
    strip = np.full((_LEGEND_PX, _SIDE_PX, 3), 24, np.uint8)
    column = 28
    cv2.line(strip, (column, 32), (column + 40, 32), _WHITE, 4, cv2.LINE_AA)
    _text(strip, "truth", (column + 54, 38))
    column += 160
    for colour, text in ((_GOOD, "fix within 5 m"), (_FAIR, "within 15 m"), (_POOR, "worse")):
        cv2.circle(strip, (column, 32), 7, colour, -1, cv2.LINE_AA)
        _text(strip, text, (column + 18, 38))
        column += 220
    _text(strip, "map: an older day", (_SIDE_PX - 220, 38))
    return strip
