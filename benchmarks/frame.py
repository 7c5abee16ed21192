"""Time every stage of a frame, through the real localiser, over a synthetic region.

The stages are timed by wrapping the functions that the localiser calls, so that nothing special runs.
Example: .venv/bin/python benchmarks/frame.py --seconds 20 --json benchmarks/results/frame.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from pilotage import localise, models
from pilotage.cli.world import write_map
from pilotage.engine import open_engine
from pilotage.localise import Localiser
from pilotage.maps import open_map
from pilotage.pack import RegionPack, build_pack
from pilotage.search import Searcher
from pilotage.world import FlightPlan, WorldConfig, make_world, simulate
from pilotage_bridge.demo import CAMERA, machine


def timed(function, spent):
    def wrapper(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - start)

    return wrapper


def percentiles(samples_s):
    ms = np.array(samples_s) * 1e3
    return {"p50_ms": float(np.quantile(ms, 0.5)), "p95_ms": float(np.quantile(ms, 0.95)), "max_ms": float(ms.max())}


def fly(pack_file: Path, world, *, seconds: float) -> dict:
    frames = [frame for frame, _ in simulate(world, FlightPlan.draw(world, 1, duration_s=seconds), CAMERA, seed=1)]
    calls = defaultdict(list)
    with RegionPack.open(pack_file) as pack, open_engine(pack.query_model(), threads=1) as engine:
        bare = []
        image = np.zeros((1, engine.contract.height, engine.contract.width, 3), np.uint8)
        for _ in range(60):
            start = time.perf_counter()
            engine.run(image)
            bare.append(time.perf_counter() - start)
        real = {name: getattr(localise, name) for name in ("rectify", "edge_field", "align")}
        search = (Searcher.all, Searcher.near)
        try:
            for name, function in real.items():
                setattr(localise, name, timed(function, calls[name]))
            Searcher.all, Searcher.near = timed(search[0], calls["search"]), timed(search[1], calls["search"])
            engine.run = timed(engine.run, calls["encode"])
            onboard, total, sums, states = Localiser(pack, engine), [], defaultdict(list), []
            for frame in frames:
                for samples in calls.values():
                    samples.clear()
                start = time.perf_counter()
                fix = onboard.update(frame)
                total.append(time.perf_counter() - start)
                states.append(fix.state.value)
                for name, samples in calls.items():
                    sums[name].append(sum(samples))
        finally:
            for name, function in real.items():
                setattr(localise, name, function)
            Searcher.all, Searcher.near = search
    tracking = [i for i, state in enumerate(states) if state == "TRACKING"]
    stages = {name: percentiles([samples[i] for i in tracking]) for name, samples in sums.items()}
    rest = [total[i] - sum(samples[i] for samples in sums.values()) for i in tracking]
    frame = percentiles([total[i] for i in tracking])
    return {
        "frames": len(frames),
        "tracking": len(tracking),
        "tiles": len(pack),
        "frame": frame,
        "stages": {**stages, "rest": percentiles(rest)},
        "bare_encoder": percentiles(bare),
        "frame_over_bare_encoder": frame["p50_ms"] / percentiles(bare)["p50_ms"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of flight (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    world = make_world(60, WorldConfig(size_m=1200))
    model = models.path("nadir-512")
    with tempfile.TemporaryDirectory() as scratch, open_engine(model, threads=2) as engine:
        pack_file = Path(scratch) / "bench.region"
        picture = write_map(world, Path(scratch))
        build_pack(open_map(picture), pack_file, engine=engine, model=model.read_bytes(), name="bench")
        result = {"schema": 1, "machine": machine(), **fly(pack_file, world, seconds=arguments.seconds)}
    for name, row in {"frame": result["frame"], **result["stages"], "bare encoder": result["bare_encoder"]}.items():
        print(f"{name:<14} p50 {row['p50_ms']:7.2f} ms   p95 {row['p95_ms']:7.2f} ms   max {row['max_ms']:7.2f} ms")
    print(f"a frame costs {result['frame_over_bare_encoder']:.1f} bare encoder runs")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
