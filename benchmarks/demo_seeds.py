"""Run the demo over several worlds and keep what it measured.

Example: .venv/bin/python benchmarks/demo_seeds.py --seeds 7 1 2 3 4 5 --json benchmarks/results/demo.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from pilotage_bridge.demo import DemoConfig, run

KEYS = (
    "seed",
    "verdict",
    "first_fix_s",
    "availability",
    "median_error_m",
    "p95_error_m",
    "max_error_m",
    "false_fix_rate",
    "coverage_1sigma",
    "coverage_95",
    "latency_p50_ms",
    "latency_p95_ms",
    "outside_frames",
    "outside_fixes",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 1, 2, 3, 4, 5], help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()
    rows, machine, model = [], {}, ""
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            result = run(DemoConfig(out=Path(scratch), seed=seed))
        rows.append({**{key: result.summary[key] for key in KEYS}, "seconds": result.summary["seconds"]["total"]})
        machine, model = result.summary["machine"], result.summary["pack"]["model_id"]
        print({key: round(v, 3) if isinstance(v, float) else v for key, v in rows[-1].items()}, flush=True)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        whole = {"schema": 1, "model_id": model, "machine": machine, "flights": rows}
        arguments.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["verdict"] == "pass" for row in rows) else 3


if __name__ == "__main__":
    sys.exit(main())
