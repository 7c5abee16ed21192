"""Numbers about models and checkpoints, for the command line and the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pilotage.world.generate import WorldConfig
from pilotage_trainer import checkpoint
from pilotage_trainer.data.orthophotos import OrthophotoSource
from pilotage_trainer.data.worlds import WorldSource, cached_world
from pilotage_trainer.evaluate import Protocol, describer, recall
from pilotage_trainer.recipes import RECIPES
from pilotage_trainer.years import year_against_year

WORLDS = Protocol()
ORTHOPHOTOS = Protocol(ground_m=50.0, pitch_m=10.0, queries=100)  # small pictures: a finer grid, or hardly any tiles


def zoo() -> list[dict[str, Any]]:
    """Return one row for each recipe."""
    rows = []
    for of in RECIPES.values():
        model = checkpoint.build(of)
        rows.append(
            {
                "name": of.name,
                "backbone": of.backbone,
                "params_m": round(sum(p.numel() for p in model.parameters()) / 1e6, 3),
                "descriptor": model.descriptor,
                "input": [of.batch.side_px, of.batch.side_px],
                "view": of.view,
                "source": "FRGeo (AAAI 2024), compact, shared weights",
            }
        )
    return rows


def describe_row(row: dict[str, Any]) -> str:
    """Return a line for people."""
    size = f"{row['params_m']:.2f} M  {row['descriptor']}-d  {row['input']}"
    return f"{row['name']:<12} {row['backbone']:<12} {size}  {row['source']}"


def held_out(
    path: Path, *, cache: Path, orthophotos: Path | None, orthophoto_gsd_m: float, years: Path | None
) -> list[dict[str, Any]]:
    """Measure a checkpoint on the validation worlds and, where given, the held-out orthophotos and other years."""
    model, of = checkpoint.trained(path)
    describe = describer(model, of)
    results: list[dict[str, Any]] = []
    for seed in of.validation_seeds:
        source = WorldSource(cached_world(seed, cache, WorldConfig(size_m=of.world_size_m)))
        results.append({"set": _set_name(f"synthetic world {seed}", WORLDS), **recall(describe, source, WORLDS)})
    if orthophotos is not None:
        for name in of.held_out_orthophotos:
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
