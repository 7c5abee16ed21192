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


def held_out(path: Path, *, cache: Path, orthophotos: Path | None, orthophoto_gsd_m: float) -> list[dict[str, Any]]:
    """Measure a checkpoint on the validation worlds and, where given, the held-out orthophotos."""
    model, of = checkpoint.trained(path)
    describe = describer(model, of)
    results: list[dict[str, Any]] = []
    for seed in of.validation_seeds:
        source = WorldSource(cached_world(seed, cache, WorldConfig(size_m=of.world_size_m)))
        results.append({"set": f"synthetic world {seed}, tiles of 100 m", **recall(describe, source, Protocol())})
    if orthophotos is not None:
        for name in of.held_out_orthophotos:
            picture = OrthophotoSource(orthophotos / f"{name}.jpg", gsd_m=orthophoto_gsd_m)
            protocol = Protocol(ground_m=50.0, pitch_m=10.0, queries=100)
            results.append({"set": f"orthophoto {name}, tiles of 50 m", **recall(describe, picture, protocol)})
    return results


def describe_result(result: dict[str, Any]) -> str:
    """Return a line for people."""
    return (
        f"{result['set']:<44} recall@1 {result['recall_at_1_15m']:.1%} within 15 m, recall@5 "
        f"{result['recall_at_5_15m']:.1%}, recall@1 {result['recall_at_1_half_tile']:.1%} within half a tile, "
        f"{result['gallery']:.0f} tiles"
    )
