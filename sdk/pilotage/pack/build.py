"""Build a pack: stream the map, cut tiles, encode, write once. The same inputs give the same bytes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage import __version__
from pilotage.engine import Engine
from pilotage.errors import PackError
from pilotage.maps import Map
from pilotage.pack.container import sha256_of, write_container
from pilotage.pack.manifest import FORMAT, Manifest, Member
from pilotage.pack.region import TILE_DTYPE
from pilotage.progress import Progress
from pilotage.values import Rgb

BLOCK_PX = 512


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """How the region is cut."""

    tile_m: float = 100.0
    stride_m: float = 33.0
    min_valid: float = 0.6  # of a tile that the map must cover
    batch: int = 16
    jpeg_quality: int = 92
    graph_above: int = 20_000  # tiles; below, exact search is fast enough

    def __post_init__(self) -> None:
        if not (0 < self.stride_m <= self.tile_m < 1e5):
            raise PackError(f"stride {self.stride_m} m must lie above 0 and not above the tile's {self.tile_m} m")
        if not 0 < self.min_valid <= 1:
            raise PackError(f"min_valid {self.min_valid} must lie in 0..1")
        if self.batch < 1:
            raise PackError(f"batch {self.batch} must be at least one tile")


@dataclass(frozen=True, slots=True)
class Imagery:
    """Whose pictures these are; the licence travels with the pack."""

    source: str = "unknown"
    date: str = "unknown"
    licence: str = "unknown"


@dataclass(frozen=True, slots=True)
class _Grid:
    """Pixels and tiles of the region in its local metres."""

    top_north_m: float
    left_east_m: float
    rows: int
    columns: int
    gsd_m: float
    side_px: int
    tile_rows: list[int]
    tile_columns: list[int]


@dataclass(slots=True)
class _Tiles:
    """What has been encoded so far."""

    where: list[tuple[int, int]] = field(default_factory=list)
    descriptors: list[NDArray[np.float16]] = field(default_factory=list)


def build_pack(
    source: Map,
    output: Path,
    *,
    engine: Engine,
    model: bytes,
    name: str,
    pack_version: int = 1,
    imagery: Imagery | None = None,
    config: BuildConfig | None = None,
) -> Manifest:
    """Build a pack of the whole map; `model` is the ONNX behind `engine`. Nothing half-written stays behind."""
    config = BuildConfig() if config is None else config
    imagery = Imagery() if imagery is None else imagery
    _check_output(output)
    grid = _lay_grid(source, engine, config)
    with _writing(output):
        work = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        (work / "map").mkdir()
        tiles = _Tiles()
        total = len(grid.tile_rows) * len(grid.tile_columns)
        with Progress("encode tiles", total, unit="tile") as bar:
            for strip, valid, top in _strips(source, grid, work, output, config):
                _encode_row(strip, valid, top, grid=grid, engine=engine, config=config, tiles=tiles)
                bar.add(len(grid.tile_columns))
        if not tiles.where:
            raise PackError(f"the map covers no tile of {config.tile_m} m by {config.min_valid:.0%}: try a smaller one")
        with _writing(output):
            members = _write_members(work, source, grid, tiles, model=model, config=config)
        manifest = _manifest(
            source,
            grid,
            engine,
            config,
            imagery=imagery,
            name=name,
            version=pack_version,
            members=members,
            tiles=len(tiles.where),
        )
        write_container(output, manifest, {member: work / member for member in members})
        return manifest
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Say a full disk or a folder that may not be written in one line."""
    try:
        yield
    except OSError as error:
        raise PackError(
            f"{output}: cannot write the pack ({error.strerror}): the folder needs room and leave"
        ) from error


def _check_output(output: Path) -> None:
    if not output.parent.is_dir():
        raise PackError(f"{output.parent}: no such folder for the pack: make it first")
    if output.suffix != ".region":
        raise PackError(f"{output}: a region pack's name ends in .region")
    if output.is_dir():
        raise PackError(f"{output}: is a folder: give the pack another name")


def _lay_grid(source: Map, engine: Engine, config: BuildConfig) -> _Grid:
    contract = engine.contract
    if contract.view != "nadir" or contract.width != contract.height:
        raise PackError(
            f"{contract.name} takes {contract.view} pictures of {contract.width}x{contract.height} px, a pack's tiles "
            "are nadir and square: use a nadir encoder"
        )
    low_m, high_m = contract.ground_size_m
    # An encoder sees pixels, not metres: coarser maps work with larger tiles, but nobody has measured how well.
    if config.tile_m < 0.5 * low_m or config.tile_m > 10 * high_m:
        raise PackError(
            f"tiles of {config.tile_m:g} m are far from the {low_m:g}..{high_m:g} m that {contract.name} was made for"
        )
    frame = source.bounds.frame()
    north_m, east_m = frame.to_local(source.bounds.north, source.bounds.east)
    gsd_m = config.tile_m / contract.width
    rows, columns = int(2 * north_m / gsd_m), int(2 * east_m / gsd_m)
    side = contract.width
    if rows < side or columns < side:
        raise PackError(
            f"the map is {2 * north_m:.0f} x {2 * east_m:.0f} m, smaller than one tile of {config.tile_m:g} m: "
            "use a smaller --tile-m or a larger map"
        )
    step = max(1, round(config.stride_m / gsd_m))
    return _Grid(north_m, -east_m, rows, columns, gsd_m, side, _starts(rows, side, step), _starts(columns, side, step))


def _starts(length: int, side: int, step: int) -> list[int]:
    """Return where tiles begin so that both borders are reached."""
    starts = list(range(0, length - side + 1, step))
    if starts[-1] < length - side:
        starts.append(length - side)
    return starts


def _strips(
    source: Map, grid: _Grid, work: Path, output: Path, config: BuildConfig
) -> Iterator[tuple[Rgb, NDArray[np.bool_], int]]:
    """Yield (pixels, valid, first row) of every row of tiles, writing the map's blocks on the way down."""
    frame = source.bounds.frame()
    held = np.empty((0, grid.columns, 3), np.uint8)
    held_valid = np.empty((0, grid.columns), bool)
    held_top, read_to = 0, 0
    wanted = iter(grid.tile_rows)
    top = next(wanted, None)
    while read_to < grid.rows:
        count = min(BLOCK_PX, grid.rows - read_to)
        rgb, valid = source.read(
            frame,
            top_north_m=grid.top_north_m - read_to * grid.gsd_m,
            left_east_m=grid.left_east_m,
            rows=count,
            columns=grid.columns,
            gsd_m=grid.gsd_m,
        )
        with _writing(output):
            _write_blocks(rgb, valid, read_to // BLOCK_PX, work, config)
        held, held_valid = np.concatenate([held, rgb]), np.concatenate([held_valid, valid])
        read_to += count
        while top is not None and top + grid.side_px <= read_to:
            rows = slice(top - held_top, top - held_top + grid.side_px)
            yield held[rows], held_valid[rows], top
            top = next(wanted, None)
        keep_from = read_to if top is None else min(top, read_to)
        held, held_valid, held_top = held[keep_from - held_top :], held_valid[keep_from - held_top :], keep_from


def _write_blocks(rgb: Rgb, valid: NDArray[np.bool_], block_row: int, work: Path, config: BuildConfig) -> None:
    for left in range(0, rgb.shape[1], BLOCK_PX):
        pixels, mask = rgb[:, left : left + BLOCK_PX], valid[:, left : left + BLOCK_PX]
        stem = work / "map" / f"{block_row:04d}_{left // BLOCK_PX:04d}"
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality])[1]
        stem.with_suffix(".jpg").write_bytes(jpeg.tobytes())
        if not mask.all():
            png = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])[1]
            stem.with_suffix(".png").write_bytes(png.tobytes())


def _encode_row(
    strip: Rgb,
    valid: NDArray[np.bool_],
    top: int,
    *,
    grid: _Grid,
    engine: Engine,
    config: BuildConfig,
    tiles: _Tiles,
) -> None:
    """Encode one row of tiles; a tile with too little map is left out."""
    side = grid.side_px
    covered = np.concatenate([[0], np.cumsum(valid.sum(axis=0))])
    need = config.min_valid * side * side
    lefts = [left for left in grid.tile_columns if covered[left + side] - covered[left] >= need]
    for start in range(0, len(lefts), config.batch):
        chunk = lefts[start : start + config.batch]
        images = np.stack([strip[:, left : left + side] for left in chunk])
        descriptors = engine.run(images).astype(np.float16)
        if not np.all(np.isfinite(descriptors)):
            raise PackError(f"{engine.contract.name} gives numbers that are not finite: export the encoder again")
        tiles.descriptors.append(descriptors)
        tiles.where += [(top, left) for left in chunk]


def _write_members(
    work: Path, source: Map, grid: _Grid, tiles: _Tiles, *, model: bytes, config: BuildConfig
) -> dict[str, Member]:
    descriptors = np.ascontiguousarray(np.concatenate(tiles.descriptors), "<f2")
    frame = source.bounds.frame()
    table = np.zeros(len(tiles.where), TILE_DTYPE)
    for index, (row, column) in enumerate(tiles.where):
        north_m = grid.top_north_m - (row + grid.side_px / 2) * grid.gsd_m
        east_m = grid.left_east_m + (column + grid.side_px / 2) * grid.gsd_m
        table[index] = (*frame.to_wgs84(north_m, east_m), row, column)
    np.save(work / "tiles.npy", table)
    np.save(work / "descriptors.npy", descriptors)
    (work / "query.onnx").write_bytes(model)
    if len(descriptors) > config.graph_above:
        _graph(descriptors).save_index(str(work / "graph.hnsw"))
    files = sorted(p for p in work.rglob("*") if p.is_file())
    return {str(p.relative_to(work)): sha256_of(p) for p in files}


def _graph(descriptors: NDArray[np.float16]) -> Any:
    import hnswlib  # late: a vehicle whose compiler failed flies without it, on exact search

    index = hnswlib.Index(space="ip", dim=descriptors.shape[1])
    index.init_index(max_elements=len(descriptors), M=16, ef_construction=200, random_seed=7)
    index.add_items(descriptors.astype(np.float32), np.arange(len(descriptors)), num_threads=1)  # one: same bytes
    return index


def _manifest(
    source: Map,
    grid: _Grid,
    engine: Engine,
    config: BuildConfig,
    *,
    imagery: Imagery,
    name: str,
    version: int,
    members: dict[str, Member],
    tiles: int,
) -> Manifest:
    bounds, frame = source.bounds, source.bounds.frame()
    return Manifest(
        format=FORMAT,
        name=name,
        pack_version=version,
        tool_version=__version__,
        north=bounds.north,
        west=bounds.west,
        south=bounds.south,
        east=bounds.east,
        origin_lat_deg=frame.origin_lat_deg,
        origin_lon_deg=frame.origin_lon_deg,
        map_top_north_m=grid.top_north_m,
        map_left_east_m=grid.left_east_m,
        map_rows=grid.rows,
        map_columns=grid.columns,
        map_gsd_m=grid.gsd_m,
        block_px=BLOCK_PX,
        tile_m=config.tile_m,
        stride_m=config.stride_m,
        tiles=tiles,
        imagery_source=imagery.source,
        imagery_date=imagery.date,
        imagery_licence=imagery.licence,
        contract=engine.contract,
        members=members,
    )
