"""Make a checkpoint the shipped weights: the ONNX, its model card, and the log of its training, side by side.

The card's numbers come from here and nowhere else: recall on ground that the recipe holds out, other years of NAIP,
and recorded flights through the localiser, where the folders are given.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pilotage import models
from pilotage.engine import open_engine
from pilotage.errors import ModelError
from pilotage.flight import FlightFolder
from pilotage.maps import open_map
from pilotage.pack import BuildConfig, build_pack
from pilotage.replay import Step, localiser
from pilotage.score import score
from pilotage_export.onnx_export import export
from pilotage_trainer import checkpoint, held_out
from pilotage_trainer.data.drawn import DrawnConfig
from pilotage_trainer.recipe import Recipe, options_as

LICENCE = "Apache-2.0"
_FLIGHTS = {"brighton_beach": 40.0, "caliterra": 40.0}  # tile size in metres, for their heights of 30 to 60 m


def ship(
    path: Path, *, log: Path, cache: Path, orthophotos: Path | None, real_data: Path | None, folder: Path | None = None
) -> dict[str, Any]:
    """Write <name>.onnx, <name>.json and <name>.log.jsonl into the package; return the card."""
    if not log.is_file():
        raise ModelError(f"{log}: no such training log: give the log.csv beside the checkpoint")
    model, recipe = checkpoint.trained(path)
    folder = Path(models.__file__).parent if folder is None else folder
    output = folder / f"{recipe.name}.onnx"
    contract, proof = export(path, output, precision="fp16")
    state = checkpoint.load(path)
    years = real_data / "naip" if real_data is not None else None
    rows = held_out.measure(path, cache=cache, orthophotos=orthophotos, orthophoto_gsd_m=0.2, years=years)
    measured = [
        {"set": row["set"], "metric": key, "value": round(value, 4)}
        for row in rows
        for key, value in row.items()
        if isinstance(value, float) and "recall" in key
    ]
    if real_data is not None:
        measured += [row for name, tile_m in _FLIGHTS.items() for row in _flight(real_data / name, output, tile_m)]
    card = {
        "name": recipe.name,
        "model_id": contract.model_id,
        "contract": json.loads(contract.to_json()),
        "parameters_m": round(sum(p.numel() for p in model.parameters()) / 1e6, 3),
        "size_mb": round(output.stat().st_size / 1e6, 2),
        "parity_with_torch_fp32": proof,
        "trained_on": _trained_on(recipe, int(state["steps"]), float(state["spent_s"]) / 60),
        "never_trained_on": [
            *options_as(DrawnConfig, recipe.data.options, "data.options").held_out_orthophotos,
            "brighton_beach",
            "caliterra",
            "naip",
        ],
        "measured": measured,
        "licence": LICENCE,
        "imagery_credit": "orthophotos: Estonian Land Board open data",
        "recipe": recipe.to_dict(),
        "made_with": "make train, make weights",
    }
    part = output.with_suffix(".json.part")
    part.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    part.replace(output.with_suffix(".json"))
    shutil.copyfile(log, output.with_suffix(".log.csv"))
    return card


def _trained_on(recipe: Recipe, steps: int, minutes: float) -> str:
    drawn = options_as(DrawnConfig, recipe.data.options, "data.options")
    seeds = drawn.train_seeds
    return (
        f"synthetic worlds {seeds[0]}..{seeds[-1]} and real orthophotos of towns (Estonian Land Board, "
        f"0.2 m/px; {drawn.orthophoto_share:.0%} of the places); {steps} steps of {recipe.train.batch} pairs, "
        f"{minutes:.0f} minutes on two CPU cores, seed {recipe.train.seed}"
    )


def _flight(folder: Path, model: Path, tile_m: float) -> list[dict[str, Any]]:
    """Localise every recorded frame alone, against a pack of the flight's own map: an easy, same-source test."""
    flight = FlightFolder(folder / "flight")
    with tempfile.TemporaryDirectory() as scratch, open_engine(model) as engine:
        pack = Path(scratch) / "flight.region"
        build_pack(
            open_map(folder / "map" / "map.png"),
            pack,
            engine=engine,
            model=model.read_bytes(),
            name=folder.name,
            config=BuildConfig(tile_m=tile_m, stride_m=tile_m / 4),
        )
        with localiser(pack) as onboard:
            steps = [Step(onboard.locate(frame), truth, 0.0) for frame, truth in flight.frames()]
    truths = [step.truth for step in steps if step.truth is not None]
    result = score([step.fix for step in steps], truths).to_dict()
    name = f"{folder.name}, {len(steps)} single frames, map from the same flight (easy)"
    keys = ("availability", "median_error_m", "p95_error_m", "false_fix_rate")
    return [
        {"set": name, "metric": key, "value": None if result[key] is None else round(result[key], 3)} for key in keys
    ]
