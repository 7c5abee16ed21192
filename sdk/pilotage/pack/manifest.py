"""The manifest: what the pack is, and the size and hash of every other member. It is what gets signed."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from pilotage.contract import Contract
from pilotage.errors import ModelError, PackError

FORMAT = 1
MANIFEST, SIGNATURES = "manifest.json", "signatures.json"
MEMBER_NAME = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)?\.[a-z0-9]+")
_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,)}
_MAX_WHOLE = 2**53


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside the pack."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 0 or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"a member of {self.size!r} bytes with sha256 {self.sha256!r}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a pack that is not pixels or descriptors."""

    format: int
    name: str
    pack_version: int
    tool_version: str
    north: float
    west: float
    south: float
    east: float
    origin_lat_deg: float
    origin_lon_deg: float
    map_top_north_m: float
    map_left_east_m: float
    map_rows: int
    map_columns: int
    map_gsd_m: float
    block_px: int
    tile_m: float
    stride_m: float
    tiles: int
    imagery_source: str
    imagery_date: str
    imagery_licence: str
    contract: Contract
    members: dict[str, Member]

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            newer = "update pilotage" if self.format > FORMAT else "build the pack again"
            raise PackError(f"pack format {self.format}, this version reads {FORMAT}: {newer}")
        self._check_kinds()
        numbers = (self.map_gsd_m, self.tile_m, self.stride_m, self.map_top_north_m, self.map_left_east_m)
        if not all(map(math.isfinite, numbers)) or min(self.map_gsd_m, self.tile_m, self.stride_m) <= 0:
            raise PackError(f"pack manifest has a pixel, tile or stride that is not a length: {numbers}")
        if self.tiles < 1 or min(self.map_rows, self.map_columns) < 1 or self.block_px not in range(64, 4097):
            raise PackError(f"pack manifest has {self.tiles} tiles and a map of {self.map_rows}x{self.map_columns} px")
        if abs(self.map_gsd_m * self.contract.width - self.tile_m) > 1e-6 * self.tile_m:
            raise PackError(
                "pack manifest: a tile is not as many map pixels as the encoder takes; build the pack again"
            )
        self._check_place()

    def _check_kinds(self) -> None:
        """Hold every plain value to its kind: a version that is a path would end up in a file's name."""
        for item in fields(self):
            value, kinds = getattr(self, item.name), _KINDS.get(str(item.type))
            if kinds is None:
                continue
            wrong = type(value) not in kinds or (isinstance(value, int) and abs(value) > _MAX_WHOLE)
            if wrong or (isinstance(value, str) and not (value.isprintable() and len(value) <= 1000)):
                raise PackError(
                    f"pack manifest: {item.name} is {str(value)[:40]!r}, not {item.type}: build the pack again"
                )

    def _check_place(self) -> None:
        edges = f"north {self.north}, south {self.south}, west {self.west}, east {self.east}"
        if not (-85 <= self.south < self.north <= 85 and -180 <= self.west < self.east <= 180):
            raise PackError(f"pack manifest: the region lies at {edges}: build the pack again")
        if not (self.south <= self.origin_lat_deg <= self.north and self.west <= self.origin_lon_deg <= self.east):
            raise PackError(
                f"pack manifest: its origin {self.origin_lat_deg}, {self.origin_lon_deg} is outside {edges}: build the "
                "pack again"
            )

    def to_bytes(self) -> bytes:
        """Return canonical JSON."""
        raw = asdict(self)
        raw["contract"] = json.loads(self.contract.to_json())
        return json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> Manifest:
        """Read; every defect is a PackError."""
        try:
            raw: dict[str, Any] = json.loads(data)
            if raw.get("format") != FORMAT:
                raise PackError(
                    f"{source}: pack format {raw.get('format')}, this version reads {FORMAT}: update pilotage"
                )
            raw["contract"] = Contract.from_json(json.dumps(raw["contract"]), source=source)
            raw["members"] = {name: Member(**entry) for name, entry in raw["members"].items()}
            for name in raw["members"]:
                if not MEMBER_NAME.fullmatch(name) or name in (MANIFEST, SIGNATURES):
                    raise PackError(f"{source}: member {name!r} has no place in a region pack: do not use this file")
            return cls(**raw)
        except PackError as error:
            raise error if str(error).startswith(source) else PackError(f"{source}: {error}") from error
        except (OverflowError, ValueError, TypeError, KeyError, AttributeError, ModelError, RecursionError) as error:
            raise PackError(f"{source}: its manifest cannot be read ({error}): build or copy the pack again") from error
