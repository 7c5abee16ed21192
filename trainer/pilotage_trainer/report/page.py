"""One page of everything that was measured of a checkpoint, and its pictures beside it."""

from __future__ import annotations

import html
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from pilotage.page import embedded, page
from pilotage.picture import write_picture
from pilotage.values import Rgb
from pilotage_trainer import metrics
from pilotage_trainer.data.feed import OneView
from pilotage_trainer.data.split import Split
from pilotage_trainer.data.views import View, unpolar
from pilotage_trainer.describe import Normalise
from pilotage_trainer.models import TwoBranch
from pilotage_trainer.report.activation import heat, overlay
from pilotage_trainer.report.curves import curves
from pilotage_trainer.report.sheet import chosen_queries, sheet

_FOUND = 5
_SQUARE_PX = 256


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a data set with the descriptors of both sides and what came of them."""

    split: Split
    query: torch.Tensor  # (Q, D)
    aerial: torch.Tensor  # (R, D)
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class ReportInput:
    """What a report is made of."""

    title: str
    lead: str
    parts: Sequence[Part]
    cost: dict[str, Any]
    model: TwoBranch
    views: tuple[View, View]  # of queries and references
    normalise: Normalise
    run: Path | None = None  # the folder with the run's logs


def write_report(folder: Path, given: ReportInput) -> Path:
    """Write report.html, a sheet and heat maps of every part; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = [_section("Recall", _metrics_table(given.parts)), _section("Cost", _cost_table(given.cost))]
    for number, part in enumerate(given.parts):
        name = html.escape(part.split.name)
        ranks = metrics.ranks(part.query.numpy(), part.aerial.numpy(), part.split.query_id, part.split.aerial_id)
        found, scores = metrics.top(part.query.numpy(), part.aerial.numpy(), _FOUND)
        rows = chosen_queries(ranks)
        picture = sheet(part.split, rows, ranks=ranks, found=found, scores=scores)
        write_picture(folder / f"sheet-{number}.png", picture)
        legend = "Query, its true reference, the five found. Green is right, amber shows the place too, red is wrong."
        sections.append(
            _section(f"What was found: {name}", f"<p>{legend}</p>{embedded(picture, alt='retrieval sheet')}")
        )
        warmth = _heat_sheet(given, part, [query for _, query in rows])
        write_picture(folder / f"heat-{number}.png", warmth)
        legend = "How much every position adds to the cosine of a query and its true reference (activation × gradient)."
        sections.append(_section(f"Where it looks: {name}", f"<p>{legend}</p>{embedded(warmth, alt='heat maps')}"))
    charts = "".join(_section(html.escape(title), svg) for title, svg in (curves(given.run) if given.run else []))
    body = "".join(sections) + f'<div class="grid">{charts}</div>' + _section("Machine", f"<p>{_machine()}</p>")
    path = folder / "report.html"
    part_path = path.with_name("report.html.part")
    part_path.write_text(page(given.title, html.escape(given.title), given.lead, body), encoding="utf-8")
    part_path.replace(path)
    return path


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _metrics_table(parts: Sequence[Part]) -> str:
    keys = list(dict.fromkeys(key for part in parts for key in part.metrics))
    head = "".join(f"<th>{html.escape(part.split.name)}</th>" for part in parts)
    rows = []
    for key in keys:
        cells = "".join(f'<td class="n">{_shown(key, part.metrics.get(key))}</td>' for part in parts)
        rows.append(f"<tr><td>{html.escape(_words(key))}</td>{cells}</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _cost_table(cost: dict[str, Any]) -> str:
    names = {
        "params_m": "parameters, both branches, millions",
        "gmacs": "multiply-accumulates of a pair, billions",
        "descriptor": "numbers in a descriptor",
        "query_ms": "one query on this machine, ms",
    }
    rows = (f'<tr><td>{names[key]}</td><td class="n">{cost[key]:g}</td></tr>' for key in names if key in cost)
    return f"<table>{''.join(rows)}</table>"


def _words(key: str) -> str:
    words = key.replace("recall_at_1_percent", "recall@1 %").replace("recall_at_", "recall@")
    return words.replace("within_", "best within ").replace("_m", " m").replace("_", " ")


def _shown(key: str, value: float | None) -> str:
    if value is None:
        return "–"
    if key.startswith(("recall", "within", "hit", "average")):
        return f"{value:.2%}"
    return f"{value:.1f} m" if key.endswith("_m") else f"{value:g}"


def _heat_sheet(given: ReportInput, part: Part, queries: Sequence[int]) -> Rgb:
    """Return a row a query: the query as the network saw it, its heat, the reference, its heat."""
    lines = []
    split = part.split
    for query in queries:
        true = int(np.flatnonzero(split.aerial_id == split.query_id[query])[0])
        cells = []
        for encoder, images, index, partner, view in (
            (given.model.query, split.query, query, part.aerial[true], given.views[0]),
            (given.model.aerial, split.aerial, true, part.query[query], given.views[1]),
        ):
            seen, _ = OneView(images, view)[index]
            warmth = heat(encoder, given.normalise(torch.from_numpy(seen)[None]), partner)
            plain = np.asarray(unpolar(seen, _SQUARE_PX), np.uint8) if view.polar else seen
            cells += [plain, overlay(seen, warmth, view)]
        lines.append(_row(cells))
    width = max(line.shape[1] for line in lines)
    return np.vstack(
        [np.pad(line, ((0, 4), (0, width - line.shape[1]), (0, 0)), constant_values=250) for line in lines]
    )


def _row(cells: Sequence[Rgb]) -> Rgb:
    """Scale pictures to one height and set them side by side."""
    height = 128
    scaled = [
        np.asarray(
            cv2.resize(c, (max(1, round(c.shape[1] * height / c.shape[0])), height), interpolation=cv2.INTER_LINEAR),
            np.uint8,
        )
        for c in cells
    ]
    return np.hstack([np.pad(c, ((0, 0), (0, 4), (0, 0)), constant_values=250) for c in scaled])


def _machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return html.escape(f"{platform.machine()}, {device}, torch {torch.__version__}, Python {platform.python_version()}")
