"""A small region that many tests share: made once, never changed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from pilotage import models
from pilotage.engine import open_engine
from pilotage.maps import open_map
from pilotage.pack import BuildConfig, build_pack
from pilotage.picture import write_picture
from pilotage.world import World, WorldConfig, make_world


@dataclass(frozen=True)
class Region:
    """A synthetic world, its map as files, and a pack built with the shipped encoder."""

    world: World
    map_file: Path
    pack_file: Path


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def region(tmp_path_factory) -> Region:
    folder = tmp_path_factory.mktemp("region")
    world = make_world(41, WorldConfig(size_m=700))
    write_picture(folder / "map.png", world.map_rgb)
    (folder / "corners.json").write_text(json.dumps(world.corners()))
    model = models.path("nadir-512")
    with open_engine(model, threads=2) as engine:
        build_pack(
            open_map(folder / "map.png"),
            folder / "small.region",
            engine=engine,
            model=model.read_bytes(),
            name="small",
            config=BuildConfig(),
        )
    return Region(world, folder / "map.png", folder / "small.region")


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("PILOTAGE_REAL_DATA")
    if not folder:
        pytest.skip("PILOTAGE_REAL_DATA is unset: it names the folder of real imagery")
    return Path(folder)
