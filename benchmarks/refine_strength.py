"""Where the thresholds come from: strength of right and of wrong places, over simulated flights.

Every frame is aligned with the map about its true place, shifted at random (right), and with the map about places of
other frames (wrong).
Example: .venv/bin/python benchmarks/refine_strength.py --json benchmarks/results/refine_strength.json
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pilotage.progress import track
from pilotage.rectify import Patch, RectifyConfig, rectify
from pilotage.refine import RefineConfig, align, edge_field
from pilotage.track import TrackConfig
from pilotage.world import FlightPlan, make_world, simulate
from pilotage_bridge.demo import CAMERA, machine

TILE_M, SIDE_PX, REACH_PX = 100.0, 128, 45


def gather(seed: int, *, seconds: float, rng: np.random.Generator) -> list[tuple]:
    """Return (patch, its edges, window edges, where the patch lies in the window) of one flight."""
    world = make_world(seed)
    gsd_m = TILE_M / SIDE_PX
    side = round(world.size_m / gsd_m)
    older = cv2.resize(world.map_rgb, (side, side), interpolation=cv2.INTER_AREA)
    plan = replace(FlightPlan.draw(world, seed, duration_s=seconds), rate_hz=1.0)
    samples = []
    for frame, truth in simulate(world, plan, CAMERA, seed=seed):
        patch = rectify(frame, ground_size_m=TILE_M, side_px=SIDE_PX, config=RectifyConfig())
        if not isinstance(patch, Patch):
            continue
        north_m, east_m = world.frame.to_local(truth.lat_deg, truth.lon_deg)
        row = (world.size_m / 2 - north_m - patch.offset_north_m) / gsd_m - SIDE_PX / 2
        column = (world.size_m / 2 + east_m + patch.offset_east_m) / gsd_m - SIDE_PX / 2
        top, left = (round(v) - REACH_PX + int(rng.integers(-30, 31)) for v in (row, column))
        span = SIDE_PX + 2 * REACH_PX
        window = older[top : top + span, left : left + span]
        if min(top, left) < 0 or window.shape[:2] != (span, span):
            continue
        edges = [
            edge_field(p, c, RefineConfig())
            for p, c in ((patch.image, patch.covered), (window, np.ones((span, span), bool)))
        ]
        samples.append((patch, *edges, row - top - REACH_PX, column - left - REACH_PX))
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=75.0, help="of flight over each (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    worlds = track(range(61, 61 + arguments.worlds), "fly", arguments.worlds, unit="world")
    samples = [s for seed in worlds for s in gather(seed, seconds=arguments.seconds, rng=rng)]
    gsd_m = TILE_M / SIDE_PX
    right, wrong, found = [], [], 0
    for i, (patch, edges, window, down, across) in enumerate(track(samples, "align", len(samples), unit="frame")):
        here = align(edges, patch.covered, window, RefineConfig())
        if here is not None and math.hypot(here.shift_down_px - down, here.shift_right_px - across) * gsd_m < 8:
            found += 1
            right.append(here.strength)
        for j in range(7, len(samples), 9):
            other = align(edges, patch.covered, samples[(i + j) % len(samples)][2], RefineConfig())
            if other is not None:
                wrong.append(other.strength)
    shares = (0.01, 0.05, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
    result = {
        "schema": 1,
        "machine": machine(),
        "right_found": found / len(samples),
        "right": {str(q): float(np.quantile(right, q)) for q in shares},
        "wrong": {str(q): float(np.quantile(wrong, q)) for q in shares},
        "counts": {"right": len(right), "wrong": len(wrong)},
        "thresholds": {
            "min_strength_prior": RefineConfig().min_strength_prior,
            "min_strength": RefineConfig().min_strength,
            "acquire_strength": TrackConfig().acquire_strength,
        },
    }
    print(json.dumps({k: v for k, v in result.items() if k != "machine"}, indent=1))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
