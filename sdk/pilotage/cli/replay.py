"""`pilotage replay FOLDER`: a recorded flight through the code that flies, scored where the truth is there."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pilotage.cli.command import EXIT_CODES, Command
from pilotage.flight import FlightFolder
from pilotage.progress import track
from pilotage.replay import Step, localiser, run
from pilotage.score import score


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"example: pilotage replay flights/monday --pack town.region --json\n{EXIT_CODES}"
    parser.add_argument("folder", type=Path, help="camera.json, frames.csv and pictures")
    parser.add_argument("--pack", type=Path, required=True, help="the region")
    parser.add_argument("--single", action="store_true", help="judge every frame alone, without a track")
    parser.add_argument("--json", action="store_true", help="for machines: every fix, and the score")


def _run(arguments: argparse.Namespace) -> int:
    flight = FlightFolder(arguments.folder)
    with localiser(arguments.pack) as onboard:
        frames = track(flight.frames(), "replay", len(flight.exposures), unit="frame")
        if arguments.single:
            steps = [Step(onboard.locate(frame), truth, 0.0) for frame, truth in frames]
        else:
            steps = list(run(onboard, frames))
    report = summary(steps)
    if arguments.json:
        rows = [{"file": e.file, **s.fix.to_dict()} for e, s in zip(flight.exposures, steps, strict=True)]
        print(json.dumps({**report, "fixes": rows}, indent=1))
    else:
        for key, value in report.items():
            print(f"{key:<20} {round(value, 4) if isinstance(value, float) else value}")
    return 0


def summary(steps: list[Step]) -> dict[str, Any]:
    """Return the verdicts, latencies and, where the truth is known, the score."""
    latency_ms = np.array([step.latency_s for step in steps]) * 1e3
    report: dict[str, Any] = {
        "frames": len(steps),
        "verdicts": dict(Counter(step.fix.verdict.value for step in steps)),
        "latency_p50_ms": float(np.quantile(latency_ms, 0.5)),
        "latency_p95_ms": float(np.quantile(latency_ms, 0.95)),
    }
    truths = [step.truth for step in steps if step.truth is not None]
    if len(truths) == len(steps):
        report.update(score([step.fix for step in steps], truths).to_dict())
    return report


COMMAND = Command("replay", "run a recorded flight folder through the code that flies, and score it", _configure, _run)
