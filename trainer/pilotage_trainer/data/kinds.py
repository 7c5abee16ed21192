"""From the data section of a recipe to what a run trains and validates on."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pilotage.errors import ModelError
from pilotage.values import Rgb
from pilotage_trainer.data.shrunk import Shrunk
from pilotage_trainer.data.split import Images, Split
from pilotage_trainer.data.views import View
from pilotage_trainer.data.world_split import PlacesConfig, world_split
from pilotage_trainer.recipe import Recipe, options_as, value_as
from pilotage_trainer.sampling import Ints

PUBLIC = ("cvusa", "cvact", "vigor", "university")
_MAPS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp")
KINDS = (*PUBLIC, "map", "flight", "world", "drawn")


@dataclass(frozen=True, slots=True)
class Where:
    """Where data lies: the folder (or file) that was given, and a folder for what is rendered."""

    data: Path | None
    cache: Path


def open_part(of: Recipe, part: str, *, where: Where, sizes: tuple[View, View]) -> Split:
    """Return one part of the recipe's data set."""
    kind, options = of.data.kind, dict(of.data.options)
    if kind == "world":
        return _world(of, part, options, where, sizes)
    if kind == "drawn":
        return _world(of, part, {"view": of.views.query, "val_seeds": options.get("val_seeds", [])}, where, sizes)
    if kind not in KINDS:
        raise ModelError(f"data.kind is {kind!r}; known are {', '.join(KINDS)}")
    if where.data is None:
        raise ModelError(f"recipe {of.name!r} trains on {kind}: say where it lies with --data")
    if kind in PUBLIC:
        from pilotage_trainer.data.public import SETS, open_split

        options = _fitting(options, SETS[kind].read, kind)
        split, report = open_split(kind, where.data, part, **options)
        print("\n".join(report.lines()), file=sys.stderr, flush=True)
        if not of.data.shrink:
            return split
        small = (
            Shrunk(images, view, where.cache) for images, view in zip((split.query, split.aerial), sizes, strict=True)
        )
        return dataclasses.replace(split, query=next(small), aerial=next(small))
    return _own(of, where.data, part, options, sizes)


def _own(of: Recipe, data: Path, part: str, options: dict[str, Any], sizes: tuple[View, View]) -> Split:
    from pilotage_trainer.data.flight_split import flight_split
    from pilotage_trainer.data.map_split import map_split

    kind = of.data.kind
    options = {"side_px": sizes[0].height_px, "seed": of.train.seed, **options}
    if kind == "map":
        options = _fitting(options, map_split, kind)
        files = sorted(p for p in data.iterdir() if p.suffix.lower() in _MAPS) if data.is_dir() else [data]
        if not files:
            raise ModelError(f"{data}: holds no map ({', '.join(_MAPS)})")
        split, left_out = map_split(files, part=part, **options)
    else:
        flights = [p.parent for p in sorted(data.glob("**/frames.csv"))] or [data]
        map_path = value_as(str, options.pop("map", ""), "data.options.map")
        if not map_path:
            raise ModelError("a flight data set needs its map: data.options.map=FILE")
        options = _fitting(options, flight_split, kind)
        split, left_out = flight_split(flights, Path(map_path), part=part, **options)
    if left_out:
        print(
            f"{split.name}: left out {', '.join(f'{count} {why}' for why, count in left_out.items())}",
            file=sys.stderr,
            flush=True,
        )
    return split


def _fitting(options: Mapping[str, Any], takes: Callable[..., Any], kind: str) -> dict[str, Any]:
    """Return options as keyword arguments of what takes them; unknown, missing and wrong ones are errors."""
    of = {k: p for k, p in inspect.signature(takes).parameters.items() if p.kind is p.KEYWORD_ONLY and k != "part"}
    hints = typing.get_type_hints(takes)
    for key in options:
        if key not in of:
            raise ModelError(f"data set {kind!r} has no option {key!r}; it has {', '.join(of) or 'none'}")
    for key, parameter in of.items():
        if parameter.default is parameter.empty and key not in options:
            raise ModelError(f"data set {kind!r} needs the option {key}: data.options.{key}=...")
    return {key: value_as(hints[key], value, f"data.options.{key}") for key, value in options.items()}


def _world(of: Recipe, part: str, options: dict[str, Any], where: Where, sizes: tuple[View, View]) -> Split:
    query, aerial = sizes
    seeds = options.pop(f"{part}_seeds", None)
    if not seeds:
        raise ModelError(f"data.options.{part}_seeds is missing: which worlds are the {part!r} part?")
    asked = {key: value for key, value in options.items() if not key.endswith("_seeds")}
    defaults = {
        "view": of.views.query,
        "tile_px": aerial.width_px if not aerial.polar else 2 * aerial.height_px,
        "query_height_px": query.height_px,
        "query_width_px": query.width_px,
    }
    seeds = value_as(tuple[int, ...], seeds, f"data.options.{part}_seeds")
    config = options_as(PlacesConfig, {**defaults, **asked}, "data.options")
    return world_split(seeds, config, cache=where.cache, name=f"world {part}")


class Chosen:
    """Some pictures of a row."""

    def __init__(self, images: Images, rows: Ints) -> None:
        self._images, self._rows = images, rows

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        """Return its name."""
        return self._images.name(int(self._rows[index]))

    def read(self, index: int, rng: np.random.Generator) -> Rgb:
        """Read it."""
        return self._images.read(int(self._rows[index]), rng)


def few_shot(split: Split, share: float, seed: int) -> Split:
    """Return the split with a share of its ids, drawn once."""
    if share >= 1:
        return split
    ids = np.unique(split.query_id)
    count = max(2, round(share * len(ids)))
    kept = np.sort(np.random.default_rng([seed, 0xFE3]).permutation(ids)[:count])
    q, r = (np.flatnonzero(np.isin(side, kept)) for side in (split.query_id, split.aerial_id))
    return dataclasses.replace(
        split,
        name=f"{split.name}, {share:.0%} of its ids",
        query=Chosen(split.query, q),
        aerial=Chosen(split.aerial, r),
        query_id=split.query_id[q],
        aerial_id=split.aerial_id[r],
        semi_id=None if split.semi_id is None else split.semi_id[q],
        query_xyz_m=None if split.query_xyz_m is None else split.query_xyz_m[q],
        aerial_xyz_m=None if split.aerial_xyz_m is None else split.aerial_xyz_m[r],
    )
