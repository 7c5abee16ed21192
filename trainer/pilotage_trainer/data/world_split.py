"""The synthetic world as a data set: places seen from the ground or from above, against the map of another day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ModelError
from pilotage.progress import track
from pilotage.values import Rgb
from pilotage.world.generate import WorldConfig
from pilotage.world.ground import Panorama, render_ground
from pilotage.world.world import World
from pilotage_trainer.data.split import Split
from pilotage_trainer.data.worlds import WORLDS_VERSION, WorldSource, cached_world, whole_folder

VIEWS = ("ground", "nadir")
_CLEAR_M = 0.4  # a place where nothing stands higher than this can be stood on
_BORDER_M = 20.0


@dataclass(frozen=True, slots=True)
class PlacesConfig:
    """Which places of every world, and how they are seen."""

    view: str = "ground"
    places: int = 400  # of every world
    world_size_m: float = 1000.0
    tile_m: float = 80.0
    tile_px: int = 128
    query_height_px: int = 128
    query_width_px: int = 512
    apart_m: float = 12.0  # no two places are nearer
    same_place_m: float = 0.0  # in a batch, places nearer than this are neither positive nor negative
    offset: float = 0.0  # of the tile: how far the camera may stand from the middle of its tile

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise ModelError(f"view {self.view!r}; known are {' and '.join(VIEWS)}")
        if self.places < 1 or self.tile_m <= 0 or self.tile_m + 2 * _BORDER_M >= self.world_size_m:
            raise ModelError(f"{self.places} places of {self.tile_m:g} m do not fit a world of {self.world_size_m:g} m")


class Rendered:
    """Pictures rendered once, kept on disk and mapped from there."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._arrays = [np.load(file, mmap_mode="r") for file in files]
        self._starts = np.cumsum([0] + [len(array) for array in self._arrays])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _where(self, index: int) -> tuple[int, int]:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return part, index - int(self._starts[part])

    def name(self, index: int) -> str:
        """Return the world and the number of the place."""
        part, row = self._where(index)
        return f"{self._files[part].parent.name}/{self._files[part].stem}#{row}"

    def read(self, index: int, rng: np.random.Generator) -> Rgb:
        """Return it."""
        part, row = self._where(index)
        return np.array(self._arrays[part][row])


def world_split(seeds: Sequence[int], config: PlacesConfig, *, cache: Path, name: str = "world") -> Split:
    """Return the places of some worlds; renders what the cache does not hold yet."""
    if not seeds:
        raise ModelError("a split of worlds needs one seed or more")
    folders = [
        _rendered(seed, config, cache) for seed in track(seeds, f"{config.view} views", len(seeds), unit="world")
    ]
    places = [np.load(folder / "place_m.npy") for folder in folders]
    # worlds do not touch: each has its own stretch of the first axis
    xyz = [np.column_stack([p[:, 0] + i * 1e6, p[:, 1], np.zeros(len(p))]) for i, p in enumerate(places)]
    count = sum(len(p) for p in places)
    ids = np.arange(count, dtype=np.int64)
    return Split(
        name=name,
        query=Rendered([folder / "query.npy" for folder in folders]),
        aerial=Rendered([folder / "aerial.npy" for folder in folders]),
        query_id=ids,
        aerial_id=ids,
        query_xyz_m=np.concatenate(xyz),
        aerial_xyz_m=np.concatenate(xyz),
        apart_m=config.same_place_m,
    )


def _rendered(seed: int, config: PlacesConfig, cache: Path) -> Path:
    """Return the folder with query.npy, aerial.npy and place_m.npy of one world."""
    size = f"{config.query_height_px}x{config.query_width_px}-{config.tile_px}"
    what = f"{config.places}-{config.tile_m:g}-{config.apart_m:g}-{config.offset:g}-{size}"
    folder = cache / f"{config.view}-{WORLDS_VERSION}-{seed}-{config.world_size_m:g}-{what}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    source = WorldSource(cached_world(seed, cache, WorldConfig(size_m=config.world_size_m)))
    rng = np.random.default_rng([seed, 0x5EE])
    places = _places(source.world, config, rng)
    with whole_folder(folder) as part:
        np.save(part / "place_m.npy", places)
        np.save(part / "aerial.npy", np.stack([_tile(source, place, config) for place in places]))
        np.save(part / "query.npy", np.stack([_query(source, place, config, rng) for place in places]))
    return folder


def _tile(source: WorldSource, place_m: NDArray[np.float64], config: PlacesConfig) -> Rgb:
    return source.view_map(float(place_m[0]), float(place_m[1]), ground_m=config.tile_m, side_px=config.tile_px)


def _query(source: WorldSource, place_m: NDArray[np.float64], config: PlacesConfig, rng: np.random.Generator) -> Rgb:
    north, east = float(place_m[0]), float(place_m[1])
    if config.view == "nadir":
        size = {"ground_m": config.tile_m, "side_px": config.tile_px}
        return source.view_camera(north, east, **size, rng=rng, error=1.0, offset=config.offset)  # type: ignore[arg-type]
    reach = config.offset * config.tile_m
    n, e = north + rng.uniform(-reach, reach), east + rng.uniform(-reach, reach)
    for _ in range(60):
        if _open_ground(source.world, n, e):
            break
        n, e = north + rng.uniform(-reach, reach), east + rng.uniform(-reach, reach)
    else:
        n, e = north, east  # built up all around: the place itself is open
    panorama = Panorama(width=config.query_width_px, height=config.query_height_px)
    return render_ground(source.world, north_m=n, east_m=e, yaw_rad=0.0, panorama=panorama)


def _open_ground(world: World, north_m: float, east_m: float) -> bool:
    """Whether a camera can stand there: nothing within a metre and a half is high."""
    row, column = (int((world.size_m / 2 + v) / world.gsd_m) for v in (-north_m, east_m))
    around = slice(max(row - 3, 0), row + 4), slice(max(column - 3, 0), column + 4)
    height_m = np.asarray(world.surface_m[around]) - np.asarray(world.terrain_m[around])
    return bool(height_m.size and height_m.max() <= _CLEAR_M)


def _places(world: World, config: PlacesConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (N, 2) north and east: places to stand on, none too near to another, all tiles inside the world."""
    reach = world.size_m / 2 - config.tile_m / 2 - _BORDER_M
    found: list[NDArray[np.float64]] = []
    for _ in range(60 * config.places):
        place = rng.uniform(-reach, reach, 2)
        if config.view == "ground" and not _open_ground(world, float(place[0]), float(place[1])):
            continue
        if found and np.min(np.linalg.norm(np.array(found) - place, axis=1)) < config.apart_m:
            continue
        found.append(place)
        if len(found) == config.places:
            return np.array(found)
    room = math.floor((2 * reach / config.apart_m) ** 2)
    raise ModelError(
        f"world {world.seed}: only {len(found)} of {config.places} places found {config.apart_m:g} m apart "
        f"(at most about {room}): ask for fewer, or nearer ones"
    )
