"""Write the tables of README.md from the committed results and the model card, so that they cannot drift.

Example: .venv/bin/python benchmarks/readme.py          (add --check to only say whether it is up to date)
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from pilotage import models

ROOT = Path(__file__).resolve().parent.parent


def demo_table() -> str:
    rows = json.loads((ROOT / "benchmarks/results/demo.json").read_text(encoding="utf-8"))["flights"]
    lines = [
        "| seed | first fix | availability | median | 95 % | largest | inside 1 sigma | latency p95 | fixes outside |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['seed']} | {row['first_fix_s']:.2f} s | {row['availability']:.1%} | {row['median_error_m']:.2f} m "
            f"| {row['p95_error_m']:.2f} m | {row['max_error_m']:.2f} m | {row['coverage_1sigma']:.0%} "
            f"| {row['latency_p95_ms']:.0f} ms | {row['outside_fixes']} of {row['outside_frames']} |"
        )
    return "\n".join(lines)


def card_table() -> str:
    lines = ["| what | metric | value |", "|---|---|---|"]
    years = []
    for row in models.card("nadir-512")["measured"]:
        if "640 m" in row["set"]:
            if row["metric"] == "recall_at_1_half_tile":
                years.append(row)
        elif "flight" in row["set"] or ("orthophoto" not in row["set"] and row["metric"] == "recall_at_1_15m"):
            metric = row["metric"].replace("_", " ").replace(" at 1 15m", "@1 within 15 m")
            lines.append(f"| {row['set']} | {metric} | {row['value']:g} |")
    *yearly, decade = (row["value"] for row in years)
    half = "recall@1 within half a tile"
    span = f"{min(yearly):g} to {max(yearly):g}"
    lines.append(f"| NAIP, each year in the map of an earlier one, {len(yearly)} pairs | {half} | {span} |")
    lines.append(f"| NAIP, {years[-1]['set'].split(',')[0]} | {half} | {decade:g} |")
    return "\n".join(lines)


def ablation_table() -> str:
    report = json.loads((ROOT / "benchmarks/results/ablations.json").read_text(encoding="utf-8"))
    lines = [
        "| paper | claim | its R@1 | ours, R@1 | difference, points | direction |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["claims"]:
        ours = " over ".join(f"{v:.1f}" for v in row["ours"])
        difference = f"{row['difference_points']:+.1f} ± {row['standard_error']:.1f}"
        lines.append(
            f"| {row['paper']} | {row['claim']} | {row['figures']} | {ours} | {difference} | {row['direction']} |"
        )
    return "\n".join(lines)


TABLES = {"demo-table": demo_table, "card-table": card_table, "ablation-table": ablation_table}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when README.md is stale")
    arguments = parser.parse_args()
    stale = []
    for path in (ROOT / "README.md", ROOT / "trainer/README.md"):
        text = fresh = path.read_text(encoding="utf-8")
        for name, table in TABLES.items():
            if f"<!-- {name} -->" in text:
                block = f"<!-- {name} -->\n{table()}\n<!-- /{name} -->"
                fresh = re.sub(
                    rf"<!-- {name} -->(.*?<!-- /{name} -->)?", lambda _, b=block: b, fresh, count=1, flags=re.S
                )
        if fresh != text:
            stale.append(path.relative_to(ROOT))
            if not arguments.check:
                path.write_text(fresh, encoding="utf-8")
    if not arguments.check:
        return 0
    print("\n".join(f"{path} is stale: run benchmarks/readme.py" for path in stale) or "README tables are up to date")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
