"""Training curves from what a run logged."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage.charts import Axis, Chart

_POINTS = 400
_MARK = 0.008  # half of a measurement's mark, of the chart's width

Points = NDArray[np.float64]  # (N, 2): step, value


def curves(run: Path) -> list[tuple[str, str]]:
    """Return (title, SVG) of the loss, the learning rate and recall, as far as the run's folder has them."""
    out = []
    logged = _logged(run / "log.csv")
    for column, title, label in (("loss", "Loss", "loss"), ("lr", "Learning rate", "learning rate")):
        points = _finite([(_number(row, "step"), _number(row, column)) for row in logged])
        if len(points) >= 2:
            each = math.ceil(len(points) / _POINTS)
            out.append((f"{title}, means of {each} steps" if each > 1 else title, _line(points, label)))
    for part, measured in _validations(run / "validation.jsonl").items():
        points = _finite(measured)
        if len(points):
            out.append((f"Recall@1, {part}", _marks(points, "recall@1")))
    return out


def _logged(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        return list(csv.DictReader(stream))


def _validations(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Read what was measured while training; a line that a cut run left half written is passed over."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "recall_at_1" in row:
            found[str(row.get("part", "held out"))].append((_number(row, "step"), _number(row, "recall_at_1")))
    return found


def _number(row: Mapping[str, Any], column: str) -> float:
    try:
        return float(row[column])
    except (KeyError, TypeError, ValueError):
        return math.nan


def _finite(points: list[tuple[float, float]]) -> Points:
    kept = np.array([p for p in points if all(map(math.isfinite, p))], np.float64)
    return kept.reshape(-1, 2)


def _line(points: Points, label: str) -> str:
    """Draw a line of at most a few hundred points, each the mean of its stretch."""
    pieces = np.array_split(points, min(_POINTS, len(points)))
    x, y = np.array([piece.mean(axis=0) for piece in pieces]).T
    small = math.floor(math.log10(max(np.abs(y).max(), 1e-30)))
    if small < -1:  # ticks of few digits: a long one would run into the label
        y, label = y / 10.0**small, f"{label}, in 1e{small}"
    low, high = min(0.0, float(y.min())), max(0.0, float(y.max()))
    chart = Chart(Axis("step", 0.0, _end(points)), Axis(label, low, high + 0.05 * (high - low) or 1.0))
    chart.line(list(x), list(y), "main")
    return chart.svg()


def _marks(points: Points, label: str) -> str:
    """Draw a share at the few steps where it was measured, joined by a line."""
    end = _end(points)
    half = _MARK * end
    chart = Chart(Axis("step", 0.0, end + half), Axis(label, 0.0, 1.0))
    chart.line(list(points[:, 0]), list(points[:, 1]), "main")
    for thick in (-0.004, 0.0, 0.004):
        for step, value in points:
            chart.line([step - half, step + half], [value + thick] * 2, "main")
    return chart.svg()


def _end(points: Points) -> float:
    return max(float(points[:, 0].max()), 1.0)
