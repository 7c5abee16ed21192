"""An open pack: tiles, descriptors, map pixels and the encoder, all from one mapped file."""

from __future__ import annotations

import hashlib
import io
import math
import tempfile
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.contract import FILL_RGB
from pilotage.engine import Engine
from pilotage.errors import PackError
from pilotage.geo import LocalFrame
from pilotage.pack.container import Container
from pilotage.values import Rgb, Tile

TILE_DTYPE = np.dtype([("lat", "<f8"), ("lon", "<f8"), ("row", "<i4"), ("column", "<i4")])
_BLOCKS_KEPT = 64
_SELF_TEST_COSINE = 0.95


class RegionPack:
    """Open with `RegionPack.open`; nothing but the manifest is touched before every hash holds."""

    def __init__(self, container: Container) -> None:
        self._container = container
        manifest = self.manifest = container.manifest
        self.pack_id = hashlib.sha256(container.manifest_bytes).hexdigest()
        self.frame = LocalFrame(manifest.origin_lat_deg, manifest.origin_lon_deg)
        self.descriptors: NDArray[np.float16] = self._array(
            "descriptors.npy", np.dtype("<f2"), (manifest.tiles, manifest.contract.descriptor)
        )
        self._tiles = self._array("tiles.npy", TILE_DTYPE, (manifest.tiles,))
        places = np.column_stack([self._tiles["lat"], self._tiles["lon"]])
        self.tile_centres_m: NDArray[np.float64] = self.frame.to_local_array(places)
        self._check_tiles()
        self._check_blocks()
        self._blocks: OrderedDict[tuple[int, int], tuple[Rgb, NDArray[np.bool_] | None]] = OrderedDict()

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> RegionPack:
        """Open a pack. `verify=False` is for a pack that this process's store has verified already."""
        container = Container(path)
        try:
            if verify:
                container.verify()
            pack = cls(container)
            if verify:
                pack._check_descriptors()
                container.verify_rest()
            return pack
        except BaseException:
            container.close()
            raise

    def _check_tiles(self) -> None:
        """Hold the tiles' degrees to their pixels: two ways to say one place must agree."""
        manifest = self.manifest
        rows, columns = self._tiles["row"].astype(np.int64), self._tiles["column"].astype(np.int64)
        side = manifest.contract.width
        north_m = manifest.map_top_north_m - (rows + side / 2) * manifest.map_gsd_m
        east_m = manifest.map_left_east_m + (columns + side / 2) * manifest.map_gsd_m
        off_m = np.abs(self.tile_centres_m - np.column_stack([north_m, east_m]))
        inside = (rows >= 0) & (rows <= manifest.map_rows - side)
        inside &= (columns >= 0) & (columns <= manifest.map_columns - side)
        if not (np.all(inside) and np.all(off_m < 0.1 * manifest.map_gsd_m)):
            raise PackError(f"{self._container.path}: has tiles that do not lie on its map: build the pack again")

    def _check_blocks(self) -> None:
        """Find a missing block now, not in flight."""
        side, members = self.manifest.block_px, self.manifest.members
        down, across = -(-self.manifest.map_rows // side), -(-self.manifest.map_columns // side)
        if down * across <= len(members):
            names = (f"map/{row:04d}_{column:04d}.jpg" for row in range(down) for column in range(across))
            missing = next((name for name in names if name not in members), None)
        else:
            missing = f"of {down} x {across}"
        if missing is not None:
            raise PackError(f"{self._container.path}: map block {missing} is missing: build the pack again")

    def _check_descriptors(self) -> None:
        """Find a number that is not one; half floats have all exponent bits set then."""
        bits = self.descriptors.view(np.uint16)
        for start in range(0, len(bits), 4096):
            if np.any((bits[start : start + 4096] & 0x7C00) == 0x7C00):
                raise PackError(f"{self._container.path}: has descriptors that are not finite: build the pack again")

    def _array(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Map a .npy member in place."""
        view = self._container.view(name)
        head = io.BytesIO(bytes(view[:4096]))
        try:
            version = np.lib.format.read_magic(head)
            if version != (1, 0):
                raise ValueError(f"npy version {version}")
            found_shape, fortran, found_dtype = np.lib.format.read_array_header_1_0(head)
        except Exception as error:  # numpy lets its tokenizer's own errors out as well
            raise PackError(
                f"{self._container.path}: {name!r} is not an array ({error}): build the pack again"
            ) from error
        size = math.prod(shape) * dtype.itemsize
        if found_shape != shape or found_dtype != dtype or fortran or len(view) - head.tell() != size:
            raise PackError(f"{self._container.path}: {name!r} is {found_dtype} {found_shape}, not {dtype} {shape}")
        return np.frombuffer(view, dtype, offset=head.tell()).reshape(shape)

    def __len__(self) -> int:
        return self.manifest.tiles

    def tile(self, index: int) -> Tile:
        """Return one tile."""
        row = self._tiles[index]
        return Tile(index, float(row["lat"]), float(row["lon"]), self.manifest.tile_m)

    def tile_window(self, index: int) -> tuple[int, int]:
        """Return the (row, column) of the tile's upper left map pixel."""
        return int(self._tiles[index]["row"]), int(self._tiles[index]["column"])

    def query_model(self) -> bytes:
        """Return the encoder's ONNX."""
        return bytes(self._container.view("query.onnx"))

    def graph_index(self) -> Any | None:
        """Return the search graph; None when the pack is small enough to go without, or hnswlib is absent."""
        if "graph.hnsw" not in self._container:
            return None
        try:
            import hnswlib
        except ImportError:  # it compiles on the device, and may not have; exact search is slower, not worse
            return None
        index = hnswlib.Index(space="ip", dim=self.manifest.contract.descriptor)
        with tempfile.NamedTemporaryFile(prefix="pilotage-", suffix=".hnsw") as copy:  # hnswlib reads only files
            copy.write(self._container.view("graph.hnsw"))
            copy.flush()
            try:
                index.load_index(copy.name, max_elements=len(self))
            except RuntimeError as error:
                raise PackError(f"{self._container.path}: its search graph cannot be loaded ({error})") from error
        index.set_ef(128)
        index.set_num_threads(1)
        return index

    def pixel_of(self, north_m: float, east_m: float) -> tuple[float, float]:
        """Return the (row, column) of a place; the centre of a pixel is a whole number."""
        gsd_m = self.manifest.map_gsd_m
        return (
            (self.manifest.map_top_north_m - north_m) / gsd_m - 0.5,
            (east_m - self.manifest.map_left_east_m) / gsd_m - 0.5,
        )

    def place_of(self, row: float, column: float) -> tuple[float, float]:
        """Return the (north_m, east_m) of a pixel."""
        gsd_m = self.manifest.map_gsd_m
        return (
            self.manifest.map_top_north_m - (row + 0.5) * gsd_m,
            self.manifest.map_left_east_m + (column + 0.5) * gsd_m,
        )

    def map_window(self, row: int, column: int, rows: int, columns: int) -> tuple[Rgb, NDArray[np.bool_]]:
        """Return (pixels, valid) of any window; what lies outside the map is FILL_RGB and not valid."""
        out = np.empty((rows, columns, 3), np.uint8)
        out[:] = FILL_RGB
        valid = np.zeros((rows, columns), bool)
        side = self.manifest.block_px
        r0, r1 = max(row, 0), min(row + rows, self.manifest.map_rows)
        c0, c1 = max(column, 0), min(column + columns, self.manifest.map_columns)
        if r0 >= r1 or c0 >= c1:
            return out, valid
        for block_row in range(r0 // side, (r1 - 1) // side + 1):
            for block_column in range(c0 // side, (c1 - 1) // side + 1):
                pixels, mask = self._block(block_row, block_column)
                top, left = block_row * side, block_column * side
                a, b = max(r0, top), min(r1, top + pixels.shape[0])
                c, d = max(c0, left), min(c1, left + pixels.shape[1])
                here = (slice(a - row, b - row), slice(c - column, d - column))
                out[here] = pixels[a - top : b - top, c - left : d - left]
                valid[here] = True if mask is None else mask[a - top : b - top, c - left : d - left]
        return out, valid

    def _block(self, block_row: int, block_column: int) -> tuple[Rgb, NDArray[np.bool_] | None]:
        key = (block_row, block_column)
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        stem = f"map/{block_row:04d}_{block_column:04d}"
        side = self.manifest.block_px
        shape = (
            min(side, self.manifest.map_rows - block_row * side),
            min(side, self.manifest.map_columns - block_column * side),
        )
        bgr = cv2.imdecode(np.frombuffer(self._container.view(f"{stem}.jpg"), np.uint8), cv2.IMREAD_COLOR)
        if bgr is None or bgr.shape[:2] != shape:
            raise PackError(f"{self._container.path}: map block {stem!r} cannot be decoded: build the pack again")
        mask: NDArray[np.bool_] | None = None
        if f"{stem}.png" in self._container:
            grey = cv2.imdecode(np.frombuffer(self._container.view(f"{stem}.png"), np.uint8), cv2.IMREAD_GRAYSCALE)
            if grey is None or grey.shape != shape:
                raise PackError(f"{self._container.path}: map mask {stem!r} cannot be decoded: build the pack again")
            mask = np.asarray(grey > 127)
        rgb: Rgb = np.ascontiguousarray(bgr[..., ::-1], np.uint8)
        if mask is not None:
            rgb[~mask] = FILL_RGB  # JPEG rings
        self._blocks[key] = (rgb, mask)
        if len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return self._blocks[key]

    def self_test(self, engine: Engine) -> float:
        """Encode some of the pack's own tiles and expect their own descriptors back; return the worst cosine."""
        if engine.contract.model_id != self.manifest.contract.model_id:
            raise PackError(
                f"{self._container.path}: was built with {self.manifest.contract.model_id}, the engine is "
                f"{engine.contract.model_id}: use the pack's own encoder"
            )
        count = min(16, len(self))
        chosen = np.linspace(0, len(self) - 1, count).astype(int)
        side = self.manifest.contract.width
        images = np.stack([self.map_window(*self.tile_window(int(i)), side, side)[0] for i in chosen])
        cosine = np.sum(engine.run(images) * self.descriptors[chosen].astype(np.float32), axis=1)
        worst = float(cosine.min())
        if not worst >= _SELF_TEST_COSINE:
            raise PackError(
                f"{self._container.path}: self-test failed, cosine {worst:.3f} < {_SELF_TEST_COSINE}: this engine does "
                "not give the descriptors the pack was built with"
            )
        return worst

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def __enter__(self) -> RegionPack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
