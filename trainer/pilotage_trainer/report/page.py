"""One page of everything that was measured of a checkpoint, and its pictures beside it."""

from __future__ import annotations

import html
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pilotage.page import embedded, page
from pilotage.picture import write_picture
from pilotage_trainer.data.feed import OneView
from pilotage_trainer.data.split import Images, Split
from pilotage_trainer.data.views import View
from pilotage_trainer.describe import Normalise
from pilotage_trainer.models import TwoBranch
from pilotage_trainer.report.activation import heat_sheet
from pilotage_trainer.report.curves import curves
from pilotage_trainer.report.sheet import Row, rows_of, sheet

_COST = {
    "params_m": "parameters, both branches, millions",
    "gmacs": "multiply-accumulates of a pair, billions",
    "descriptor": "numbers in a descriptor",
    "query_ms": "one query, ms",
}
_WORDS = {
    "recall_at_1_percent": "recall@1 %",
    "median_m": "median",
    "gallery": "references",
    "tied": "truth tied with a wrong reference, counted as found",
}
_SHEET_LEGEND = (
    "Query, its true reference, the five found with their cosines. Green is right, amber shows the place too (counted "
    "as wrong), red is wrong."
)
_HEAT_LEGEND = (
    "How much every position adds to the cosine of a query and its true reference (activation × gradient). Each map is "
    "scaled to its own warmest place; what counts against the match is dark."
)


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
    sections = _tables(given)
    for number, part in enumerate(given.parts):
        sections += _pictures(folder, number, part, given)
    charts = "".join(_section(html.escape(title), svg) for title, svg in (curves(given.run) if given.run else []))
    body = "".join(sections) + f'<div class="grid">{charts}</div>'
    path = folder / "report.html"
    part_path = path.with_name("report.html.part")
    part_path.write_text(page(given.title, html.escape(given.title), given.lead, body), encoding="utf-8")
    part_path.replace(path)
    return path


def _tables(given: ReportInput) -> list[str]:
    keys = list(dict.fromkeys(key for part in given.parts for key in part.metrics))
    metres = [key for key in keys if key.endswith("_m")]
    out = [_section("Recall", _metrics_table(given.parts, [key for key in keys if key not in metres]))]
    if metres:
        out.append(_section("Metres from the query to the best found", _metrics_table(given.parts, metres)))
    return [*out, _section("Cost", f"{_cost_table(given.cost)}<p>Measured on {_machine(given.normalise.device)}.</p>")]


def _pictures(folder: Path, number: int, part: Part, given: ReportInput) -> list[str]:
    """Write the sheet and the heat maps of a part; return their sections."""
    name, split = html.escape(part.split.name), part.split
    rows = rows_of(split, part.query.numpy(), part.aerial.numpy())
    found = sheet(split, rows)
    sides = (
        (OneView(split.query, given.views[0]), part.query),
        (OneView(split.aerial, given.views[1]), part.aerial),
    )
    warmth = heat_sheet(given.model, given.normalise, sides, rows)
    write_picture(folder / f"sheet-{number}.png", found)
    write_picture(folder / f"heat-{number}.png", warmth)
    body = f"<p>{_SHEET_LEGEND}</p>{embedded(found, alt='retrieval sheet')}{_names(split, rows)}"
    return [
        _section(f"What was found: {name}", body),
        _section(f"Where it looks: {name}", f"<p>{_HEAT_LEGEND}</p>{embedded(warmth, alt='heat maps')}"),
    ]


def _names(split: Split, rows: Sequence[Row]) -> str:
    """Return whole names, which the sheet has no room for, to be copied."""

    def cell(images: Images, index: int) -> str:
        return f"<td>{html.escape(images.name(index))}</td>"

    lines = "".join(
        f"<tr><td>{row.word}</td>{cell(split.query, row.query)}{cell(split.aerial, row.truth)}"
        f"{cell(split.aerial, row.found[0])}</tr>"
        for row in rows
    )
    head = "<tr><th></th><th>query</th><th>true reference</th><th>best found</th></tr>"
    style = 'style="font-size:12px;overflow-wrap:anywhere"'
    return f"<details><summary>Whole names</summary><table {style}>{head}{lines}</table></details>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _metrics_table(parts: Sequence[Part], keys: Sequence[str]) -> str:
    head = "".join(f'<th style="text-align:right">{html.escape(part.split.name)}</th>' for part in parts)
    rows = []
    for key in keys:
        cells = "".join(f'<td class="n">{_shown(key, part.metrics.get(key))}</td>' for part in parts)
        rows.append(f"<tr><td>{html.escape(_words(key))}</td>{cells}</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _cost_table(cost: dict[str, Any]) -> str:
    rows = (f'<tr><td>{_COST[key]}</td><td class="n">{cost[key]:g}</td></tr>' for key in _COST if key in cost)
    return f"<table>{''.join(rows)}</table>"


def _words(key: str) -> str:
    if key.startswith("within_") and key.endswith("_m"):
        return f"within {key[len('within_') : -len('_m')]} m"
    return _WORDS.get(key, key.replace("recall_at_", "recall@").replace("_", " "))


def _shown(key: str, value: float | None) -> str:
    if value is None:
        return "–"
    if key.startswith(("recall", "within", "hit", "average", "tied")):
        return f"{value:.2%}"
    return f"{value:.1f} m" if key.endswith("_m") else f"{value:g}"


def _machine(device: torch.device) -> str:
    """Say what the model ran on."""
    if device.type == "cuda":
        on = torch.cuda.get_device_name(device)
    else:
        on = f"{_processor()}, {torch.get_num_threads()} of {os.cpu_count()} threads"
    return html.escape(f"{on}, torch {torch.__version__}, Python {platform.python_version()}")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
