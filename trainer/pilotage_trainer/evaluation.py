"""Measuring a checkpoint on data sets: descriptors of both sides, the metrics that apply, what it costs, a report."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pilotage.errors import ModelError
from pilotage_trainer import checkpoint, metrics
from pilotage_trainer.data.feed import OneView
from pilotage_trainer.data.kinds import PUBLIC, Where, open_part
from pilotage_trainer.describe import Normalise, embed
from pilotage_trainer.models import TwoBranch
from pilotage_trainer.models.zoo import gmacs, params_m
from pilotage_trainer.recipe import DataConfig, Recipe
from pilotage_trainer.report import ReportInput, write_report
from pilotage_trainer.report.page import Part

_TESTED_ON = {
    "cvusa": ("val",),
    "cvact": ("val", "test"),
    "vigor": ("same-test",),
    "university": ("drone-sat", "sat-drone"),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """On what to measure."""

    device: str = ""
    threads: int = 0
    workers: int = 0


def is_drawn(path: Path) -> bool:
    """Whether a checkpoint learnt from drawn places, which have no gallery of their own."""
    return Recipe.from_dict(checkpoint.load(path)["recipe"]).data.kind == "drawn"


def measure(
    path: Path,
    *,
    where: Where,
    machine: Machine,
    parts: Sequence[str] | None = None,
    cross: Path | None = None,
    report: Path | None = None,
) -> list[dict[str, Any]]:
    """Return a row for every part: what was measured there, and what the model costs."""
    from pilotage_trainer.trainer import RunConfig, device_of

    device = device_of(RunConfig(Path(), where.cache, device=machine.device))
    if machine.threads:
        torch.set_num_threads(machine.threads)
    model, of = checkpoint.trained(path)
    model.to(device)
    wanted = [(of, where, part) for part in parts or of.data.validate]
    if cross is not None:
        wanted += [(_elsewhere(of, cross), Where(cross, where.cache), part) for part in _TESTED_ON[_kind_of(cross)]]
    found = [_described(model, recipe, part, there, machine) for recipe, there, part in wanted]
    price = cost(model, of)
    rows = [{"checkpoint": str(path), "set": d.split.name, **d.metrics, **price} for d in found]
    if report is not None:
        given = ReportInput(
            title=f"{of.name}: {path.name}",
            lead=f"{of.model.name}, {of.source}. {checkpoint.load(path)['steps']} steps of {of.train.batch} pairs.",
            parts=found,
            cost=price,
            model=model,
            views=checkpoint.views(of),
            normalise=Normalise(of, device),
            run=path.parent,
        )
        print(f"report: {write_report(report, given)}", file=sys.stderr)
    return rows


def _described(model: TwoBranch, of: Recipe, part: str, where: Where, machine: Machine) -> Part:
    query, aerial = checkpoint.views(of)
    split = open_part(of, part, where=where, sizes=(query, aerial))
    normalise = Normalise(of, next(model.parameters()).device)
    sides = []
    for encoder, pictures, label in (
        (model.query, OneView(split.query, query), "queries"),
        (model.aerial, OneView(split.aerial, aerial), "references"),
    ):
        descriptors, unreadable = embed(encoder, pictures, normalise, workers=machine.workers, label=label)
        for trouble in unreadable[:5]:
            print(f"could not be read: {trouble}", file=sys.stderr, flush=True)
        if len(unreadable) > 0.001 * len(pictures):
            raise ModelError(
                f"{split.name}: {len(unreadable)} of {len(pictures)} pictures cannot be read: mend the data set"
            )
        sides.append(descriptors)
    result = metrics.evaluate(sides[0].numpy(), sides[1].numpy(), split)
    return Part(split, sides[0], sides[1], result)


def cost(model: TwoBranch, of: Recipe) -> dict[str, float]:
    """Return parameters, multiply-accumulates and descriptor of a pair, and the time of one query here."""
    query_px, aerial_px = checkpoint.sizes(of)
    device = next(model.parameters()).device
    pixels = torch.zeros(1, 3, *query_px, device=device)
    times = []
    with torch.inference_mode():
        for _ in range(8):
            if device.type == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
            model.query(pixels)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
    return {
        "params_m": round(params_m(model), 3),
        "gmacs": round(gmacs(model, query_px, aerial_px), 3),
        "descriptor": model.descriptor,
        "query_ms": round(1000 * sorted(times[3:])[2], 2),  # median of five, after three to warm up
    }


def _kind_of(folder: Path) -> str:
    """Return which public data set lies in a folder, by what only it has."""
    marks = {
        "cvusa": folder / "bingmap",
        "cvact": folder / "ACT_data.mat",
        "university": folder / "train" / "drone",
        "vigor": folder / "splits",
    }
    for kind, mark in marks.items():
        if mark.exists():
            return kind
    raise ModelError(f"{folder}: none of {', '.join(PUBLIC)} lies here; give the folder that holds its split files")


def _elsewhere(of: Recipe, folder: Path) -> Recipe:
    kind = _kind_of(folder)
    return replace(of, data=DataConfig(kind=kind), views=replace(of.views, query_middle_half=kind == "cvact"))


def describe_row(row: dict[str, Any]) -> str:
    """Return lines for people."""
    measured = {k: v for k, v in row.items() if isinstance(v, float) and k not in ("params_m", "gmacs", "query_ms")}
    shown = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in measured.items())
    price = f"{row['params_m']:.2f} M, {row['gmacs']:.2f} GMAC a pair, {row['descriptor']} numbers"
    return f"{row['set']}: {shown}\n  ({price}, {row['query_ms']:.1f} ms a query here)"
