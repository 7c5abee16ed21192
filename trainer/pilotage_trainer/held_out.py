"""Nadir weights on ground they never saw: dense galleries of worlds, orthophotos, other years; for the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pilotage.errors import ModelError
from pilotage.world.generate import WorldConfig
from pilotage_trainer import checkpoint
from pilotage_trainer.data.drawn import DrawnConfig
from pilotage_trainer.data.orthophotos import OrthophotoSource
from pilotage_trainer.data.worlds import WorldSource, cached_world
from pilotage_trainer.dense import Protocol, describer, recall
from pilotage_trainer.recipe import options_as
from pilotage_trainer.years import year_against_year

WORLDS = Protocol()
ORTHOPHOTOS = Protocol(ground_m=50.0, pitch_m=10.0, queries=100)  # small pictures: a finer grid, or hardly any tiles


def measure(
    path: Path, *, cache: Path, orthophotos: Path | None, orthophoto_gsd_m: float, years: Path | None
) -> list[dict[str, Any]]:
    """Measure a checkpoint on the validation worlds and, where given, the held-out orthophotos and other years."""
    model, of = checkpoint.trained(path)
    if of.data.kind != "drawn":
        raise ModelError(f"{path}: recipe {of.name!r} is measured on its own data: `pilotage-train eval`")
    drawn = options_as(DrawnConfig, of.data.options, "data.options")
    describe = describer(model.query, of)
    results: list[dict[str, Any]] = []
    for seed in drawn.val_seeds:
        source = WorldSource(cached_world(seed, cache, WorldConfig(size_m=drawn.world_size_m)))
        results.append({"set": _set_name(f"synthetic world {seed}", WORLDS), **recall(describe, source, WORLDS)})
    if orthophotos is not None:
        for name in drawn.held_out_orthophotos:
            picture = OrthophotoSource(orthophotos / f"{name}.jpg", gsd_m=orthophoto_gsd_m)
            results.append(
                {"set": _set_name(f"orthophoto {name}", ORTHOPHOTOS), **recall(describe, picture, ORTHOPHOTOS)}
            )
    if years is not None:
        results += year_against_year(describe, years)
    return results


def _set_name(what: str, protocol: Protocol) -> str:
    return f"{what}, tiles of {protocol.ground_m:g} m every {protocol.pitch_m:g} m"


def describe_result(result: dict[str, Any]) -> str:
    """Return a line for people."""
    rates = [f"{key.replace('_', ' ').replace(' at ', '@')} {v:.1%}" for key, v in result.items() if "recall" in key]
    return f"{result['set']:<58} {', '.join(rates)}, {result['gallery']:.0f} tiles"
