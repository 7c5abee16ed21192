"""Recorded flights with truth as a data set: frames as the vehicle rectifies them, against tiles of a map."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.errors import FlightError, ModelError
from pilotage.flight import Exposure, FlightFolder
from pilotage.maps import Map
from pilotage.picture import read_picture
from pilotage.progress import track
from pilotage.rectify import RectifyConfig, rectify
from pilotage.values import Frame, Rgb, Verdict
from pilotage_trainer.data.map_views import (
    APART,
    MIN_VALID,
    MapTiles,
    OpenMaps,
    Places,
    check_map,
    check_part,
    ground_range,
    read_tile,
    said,
)
from pilotage_trainer.data.split import Split, earth_xyz_m

MAX_OFFSET = 0.25  # of the tile
_BLOCKS = 5  # of equal time in a flight; whole blocks are val
_VAL_SHARE = 0.2  # of the frames: blocks are drawn until val holds this much ...
_MAX_LOST = 0.5  # ... or train would lose more than this, because flights cross each other's ground
_SLACK = 0.1  # of the tile: how far errors of attitude may move the ground that a frame shows
_CELLS = 16  # a tile is looked through for data in this many rows and columns

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A frame that can be used, and the middle of the ground that it shows."""

    name: str
    block: int  # of time, of its flight; no two flights share a number
    picture: NDArray[np.uint8]  # the rectified frame as a PNG
    north_m: float
    east_m: float


class RectifiedFrames:
    """The queries: frames of flights, north-up and at the ground size of the tiles, by what the sensors recorded.

    They are the same whenever they are read, so they are rectified once and kept as PNGs: 30 kB each at 128 px.
    """

    def __init__(self, names: Sequence[str], pictures: Sequence[NDArray[np.uint8]]) -> None:
        self._names, self._pictures = list(names), list(pictures)

    def __len__(self) -> int:
        return len(self._pictures)

    def name(self, index: int) -> str:
        """Return the path of the frame."""
        return self._names[index]

    def read(self, index: int, rng: np.random.Generator) -> Rgb:
        """Return the rectified frame; `rng` draws nothing."""
        bgr = np.asarray(cv2.imdecode(self._pictures[index], cv2.IMREAD_COLOR), np.uint8)
        return np.ascontiguousarray(bgr[..., ::-1])


def flight_split(
    flights: Sequence[Path],
    map_path: Path,
    *,
    ground_m: float,
    side_px: int,
    part: str,
    seed: int,
    offset: float = 0.0,
) -> tuple[Split, dict[str, int]]:
    """Return the frames of one part of some flights over a map, and how many were left out, by reason.

    The reference is the map's tile about the ground that the frame shows: where the truth stands, plus how far the
    recorded attitude looks from there; `offset`, up to a quarter of the tile, is drawn anew whenever it is read.
    Give both parts the same flights, map, sizes, seed and offset: then no ground is in both.
    """
    if not isinstance(ground_m, (int, float)):
        raise ModelError(f"ground_m is {ground_m}: the tiles of flights are of one size in metres")
    ground_range(ground_m, side_px)
    check_part(part, seed)
    if not 0 <= offset <= MAX_OFFSET:
        raise ModelError(f"offset is {offset:g}: give 0 to {MAX_OFFSET:g} of the tile")
    folders = [_flight(path) for path in sorted(set(flights))]
    if not folders:
        raise FlightError("a split of flights needs one flight folder or more")
    maps = OpenMaps([map_path])
    check_map(map_path, maps[0], ground_m=(ground_m, ground_m), side_px=side_px)
    left_out: Counter[str] = Counter()
    size = (float(ground_m), side_px)
    kept = list(_usable(folders, maps[0], size, left_out))
    if not kept:
        raise FlightError(f"no frame of {_names(folders)} can be used with {map_path}; {said(left_out)}")
    chosen = np.flatnonzero(_parts(kept, (1 + _SLACK + 2 * offset) * ground_m, seed, left_out)[part])
    if not len(chosen):
        raise FlightError(
            f"{_names(folders)}: nothing is left for {part}; {said(left_out)}: give smaller tiles or longer flights"
        )
    split = _split(f"flight {part}", maps, [kept[i] for i in chosen], chosen, offset=offset, size=size)
    return split, dict(+left_out)


def _split(
    name: str,
    maps: OpenMaps,
    kept: list[_Kept],
    ids: NDArray[np.intp],
    *,
    offset: float,
    size: tuple[float, int],
) -> Split:
    ground = maps[0].bounds.frame()
    lat_deg, lon_deg = np.array([ground.to_wgs84(one.north_m, one.east_m) for one in kept], np.float64).T
    places = Places(np.zeros(len(kept), np.int64), lat_deg, lon_deg, np.full(len(kept), size[0]))
    xyz_m = earth_xyz_m(lat_deg, lon_deg)
    return Split(
        name=name,
        query=RectifiedFrames([one.name for one in kept], [one.picture for one in kept]),
        aerial=MapTiles(maps, places, side_px=size[1], offset=offset),
        query_id=ids.astype(np.int64),
        aerial_id=ids.astype(np.int64),
        query_xyz_m=xyz_m,
        aerial_xyz_m=xyz_m,
        apart_m=APART * size[0],
    )


def _flight(path: Path) -> FlightFolder:
    folder = FlightFolder(path)
    if all(exposure.truth is None for exposure in folder.exposures):
        raise FlightError(f"{path}: frames.csv has no truth (columns lat and lon): such a flight teaches nothing")
    return folder


def _names(folders: Iterable[FlightFolder]) -> str:
    return ", ".join(str(folder.folder) for folder in folders)


def _frame(flight: FlightFolder, exposure: Exposure) -> Frame:
    return Frame(
        image=read_picture(flight.folder / exposure.file),
        stamp_ns=round(exposure.time_s * 1e9),
        roll_rad=math.radians(exposure.roll_deg),
        pitch_rad=math.radians(exposure.pitch_deg),
        yaw_rad=math.radians(exposure.yaw_deg),
        height_m=exposure.height_m,
        camera=flight.camera,
    )


def _usable(folders: list[FlightFolder], onto: Map, size: tuple[float, int], left_out: Counter[str]) -> Iterator[_Kept]:
    rows = [(number, exposure) for number, folder in enumerate(folders) for exposure in folder.exposures]
    for number, exposure in track(rows, "rectify frames", len(rows), unit="frame"):
        flight = folders[number]
        found = _rectified(flight, exposure, onto, size)
        if isinstance(found, str):
            left_out[found] += 1
            continue
        image, north_m, east_m = found
        picture = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        block = number * _BLOCKS + _block(flight, exposure)
        yield _Kept(str(flight.folder / exposure.file), block, np.asarray(picture, np.uint8), north_m, east_m)


def _rectified(
    flight: FlightFolder, exposure: Exposure, onto: Map, size: tuple[float, int]
) -> tuple[Rgb, float, float] | str:
    """Return (picture, north, east of the middle of the ground that it shows), or why it cannot be used."""
    truth, bounds, ground = exposure.truth, onto.bounds, onto.bounds.frame()
    if truth is None:
        return "without truth"
    if not (bounds.south <= truth.lat_deg <= bounds.north and bounds.west <= truth.lon_deg <= bounds.east):
        return "outside the map"
    patch = rectify(_frame(flight, exposure), ground_size_m=size[0], side_px=size[1], config=RectifyConfig())
    if isinstance(patch, Verdict):
        return patch.value
    north_m, east_m = ground.to_local(truth.lat_deg, truth.lon_deg)
    north_m, east_m = north_m + patch.offset_north_m, east_m + patch.offset_east_m
    _, valid = read_tile(onto, *ground.to_wgs84(north_m, east_m), ground_m=size[0], side_px=_CELLS)
    return (patch.image, north_m, east_m) if valid.mean() >= MIN_VALID else "outside the map"


def _block(flight: FlightFolder, exposure: Exposure) -> int:
    first_s, last_s = flight.exposures[0].time_s, flight.exposures[-1].time_s
    return min(int(_BLOCKS * (exposure.time_s - first_s) / max(last_s - first_s, 1e-9)), _BLOCKS - 1)


def _parts(kept: list[_Kept], reach_m: float, seed: int, left_out: Counter[str]) -> dict[str, Flags]:
    """Draw blocks of time for val; frames that may share ground with them are in neither part."""
    place_m = np.array([(one.north_m, one.east_m) for one in kept])
    member = np.array([one.block for one in kept])
    blocks = [member == block for block in np.random.default_rng([seed, 0xF17]).permutation(np.unique(member))]
    sharing = [_sharing(place_m, block, reach_m) for block in blocks]
    # where every block takes too much from train, the one that takes least
    least = int(np.argmin([np.count_nonzero(touched) for touched in sharing]))
    val, shared = np.zeros(len(kept), bool), np.zeros(len(kept), bool)
    for block, touched in zip(blocks, sharing, strict=True):
        if np.count_nonzero(val) < _VAL_SHARE * len(kept) and np.mean(shared | touched) <= _MAX_LOST:
            val, shared = val | block, shared | touched
    if not val.any():
        val, shared = blocks[least], sharing[least]
    left_out["between train and val"] += int(np.count_nonzero(shared & ~val))
    return {"train": ~shared, "val": val}


def _sharing(place_m: NDArray[np.float64], block: Flags, reach_m: float) -> Flags:
    """Return which places lie nearer than this to one of the block, north-south and east-west."""
    near = np.zeros(len(place_m), bool)
    for place in place_m[block]:
        near |= np.abs(place_m - place).max(axis=1) < reach_m
    return near
