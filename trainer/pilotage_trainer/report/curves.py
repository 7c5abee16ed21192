"""Training curves from what a run logged."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from pilotage.charts import Axis, Chart

_POINTS = 400


def curves(run: Path) -> list[tuple[str, str]]:
    """Return (title, SVG) of the loss, the learning rate and recall, as far as the run's folder has them."""
    out = []
    log = run / "log.csv"
    if log.is_file():
        with log.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        for column, title, label in (("loss", "Loss", "loss"), ("lr", "Learning rate", "rate")):
            chart = _line([(_number(row, "step"), _number(row, column)) for row in rows], label)
            if chart:
                out.append((title, chart))
    for part, points in _validations(run / "validation.jsonl").items():
        chart = _line(points, "recall@1", dots=True)
        if chart:
            out.append((f"Recall@1, {part}", chart))
    return out


def _validations(path: Path) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "recall_at_1" in row:
                found[str(row.get("part", "held out"))].append((float(row["step"]), float(row["recall_at_1"])))
    return found


def _number(row: dict[str, str], column: str) -> float:
    try:
        return float(row.get(column) or "nan")
    except ValueError:
        return math.nan


def _line(points: list[tuple[float, float]], label: str, *, dots: bool = False) -> str:
    """Draw a line of at most a few hundred points, each the mean of its stretch."""
    kept = np.array([p for p in points if all(map(math.isfinite, p))])
    if len(kept) < (1 if dots else 2):
        return ""
    if dots and kept[0, 0] > 0:
        kept = np.vstack([[0.0, 0.0], kept])
    pieces = np.array_split(kept, min(_POINTS, len(kept)))
    x, y = np.array([piece.mean(axis=0) for piece in pieces]).T
    top = 1.0 if dots else float(y.max()) * 1.05 or 1.0
    chart = Chart(Axis("step", 0.0, float(kept[-1, 0])), Axis(label, min(0.0, float(y.min())), top))
    chart.line(list(x), list(y), "main")
    return chart.svg()
