"""Pairs from synthetic worlds: a camera over today's ground, against the map of another day."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from pilotage.camera import Camera
from pilotage.geo import LocalFrame
from pilotage.values import Rgb
from pilotage.world.generate import WorldConfig, make_world
from pilotage.world.nadir import Pose, ground_height_m, render_nadir
from pilotage.world.world import World

WORLDS_VERSION = "v1"  # change it when make_world gives other pictures: caches are named by it
_ARRAYS = tuple(f.name for f in fields(World) if f.name.endswith(("_rgb", "_m")) and f.name not in ("size_m", "gsd_m"))


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill; it appears under its name whole, and once, whoever else fills it at the same time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        yield part
        part.chmod(0o755)
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody was quicker: theirs is the same
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def cached_world(seed: int, cache: Path, config: WorldConfig) -> World:
    """Make the world once; afterwards map its arrays from disk, so that many processes share them."""
    folder = cache / f"world-{WORLDS_VERSION}-{seed}-{config.size_m:g}-{config.gsd_m:g}"
    if not folder.is_dir():
        world = make_world(seed, config)
        with whole_folder(folder) as part:
            for name in _ARRAYS:
                np.save(part / f"{name}.npy", getattr(world, name))
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    return World(
        seed=seed,
        frame=LocalFrame(config.origin_lat_deg, config.origin_lon_deg),
        size_m=config.size_m,
        gsd_m=config.gsd_m,
        **arrays,
    )


class WorldSource:
    """Draws pairs from one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.extent_m = world.size_m

    def view_map(self, north_m: float, east_m: float, *, ground_m: float, side_px: int) -> Rgb:
        """Return the north-up map tile about a place."""
        world = self.world
        gsd = ground_m / side_px
        half = world.size_m / 2
        top, left = (half - north_m - ground_m / 2) / world.gsd_m, (east_m + half - ground_m / 2) / world.gsd_m
        r0, c0 = max(int(top) - 2, 0), max(int(left) - 2, 0)
        span = int(ground_m / world.gsd_m) + 5
        crop = np.ascontiguousarray(world.map_rgb[r0 : r0 + span, c0 : c0 + span])
        ratio = gsd / world.gsd_m
        if ratio > 1.25:
            small = cv2.resize(crop, None, fx=1 / ratio, fy=1 / ratio, interpolation=cv2.INTER_AREA)
            fx, fy = small.shape[1] / crop.shape[1], small.shape[0] / crop.shape[0]
        else:
            small, fx, fy = crop, 1.0, 1.0
        step_x, step_y = ratio * fx, ratio * fy
        matrix = np.array(
            [
                [step_x, 0, (left - c0) * fx + 0.5 * step_x - 0.5],
                [0, step_y, (top - r0) * fy + 0.5 * step_y - 0.5],
            ]
        )
        return np.asarray(
            cv2.warpAffine(
                small,
                matrix,
                (side_px, side_px),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )

    def view_camera(
        self,
        north_m: float,
        east_m: float,
        *,
        ground_m: float,
        side_px: int,
        rng: np.random.Generator,
        error: float,
        offset: float,
    ) -> Rgb:
        """Return what a camera saw of the place after rectification with wrong heading, tilt and height."""
        height_m = rng.uniform(max(40.0, 0.45 * ground_m), max(120.0, 1.6 * ground_m))
        scale = math.exp(rng.normal(0, 0.05 * error))
        hfov_deg = math.degrees(2 * math.atan(ground_m * scale / 2 / height_m))
        n = north_m + rng.uniform(-1, 1) * offset * ground_m
        e = east_m + rng.uniform(-1, 1) * offset * ground_m
        pose = Pose(
            n,
            e,
            ground_height_m(self.world, n, e) + height_m,
            math.radians(rng.normal(0, 1.0 * error)),
            math.radians(rng.normal(0, 1.0 * error)),
            math.radians(rng.normal(0, 4.0 * error)),
        )
        return render_nadir(self.world, Camera.from_hfov(side_px, side_px, hfov_deg=hfov_deg), pose)
