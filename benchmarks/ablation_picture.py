"""Draw benchmarks/results/ablations.json: one row a claim, a dot a seed, a bar of two standard errors about the mean.

Example: .venv-dev/bin/python benchmarks/ablation_picture.py --out benchmarks/results/ablations.svg
"""

from __future__ import annotations

import argparse
import html
import json
import math
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ROW, LEFT, WIDTH, TOP = 24, 430, 560, 58
COLOURS = {"same": "#1a7f37", "opposite": "#cf222e", "within noise": "#8a6d00"}


def picture(report: dict) -> str:
    """Return the SVG."""
    rows = []
    for claim in report["claims"]:
        sides = [report["variants"][claim[side]]["recall_at_1"] for side in ("better", "worse")]
        rows.append((claim, [100 * (b - w) for b, w in zip(*sides, strict=True)]))
    reach = max(4.0, *(abs(v) for _, dots in rows for v in dots))
    reach = math.ceil(math.sqrt(reach))  # the axis is a signed square root: one claim is worth fifty points, most a few

    def x(points: float) -> float:
        return LEFT + WIDTH / 2 + math.copysign(math.sqrt(abs(points)), points) / reach * WIDTH / 2

    height = TOP + ROW * len(rows) + 44
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 24} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{LEFT + WIDTH + 24}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="22" font-size="15" font-weight="600">The papers’ claims on the synthetic world</text>',
    ]
    for i, (word, colour) in enumerate(
        (("same direction", "same"), ("within noise", "within noise"), ("opposite", "opposite"))
    ):
        at = LEFT + 140 * i
        out.append(
            f'<circle cx="{at}" cy="18" r="5" fill="{COLOURS[colour]}"/><text x="{at + 10}" y="22">{word}</text>'
        )
    bottom = TOP + ROW * len(rows)
    for tick in (-25, -9, -4, -1, 0, 1, 4, 9, 25, 49):
        if abs(math.sqrt(abs(tick))) <= reach:
            dash = "" if tick == 0 else ' stroke-dasharray="2 4"'
            out.append(f'<line x1="{x(tick)}" x2="{x(tick)}" y1="{TOP - 10}" y2="{bottom}" stroke="#b0b7be"{dash}/>')
            label = f"{tick:+d}" if tick else "0"
            out.append(f'<text x="{x(tick)}" y="{bottom + 16}" text-anchor="middle" fill="#57606a">{label}</text>')
    out.append(
        f'<text x="{LEFT + WIDTH}" y="{bottom + 36}" text-anchor="end" fill="#57606a">'
        "difference of R@1 in points (axis: signed square root); dots are seeds, bars two standard errors</text>"
    )
    for i, (claim, dots) in enumerate(rows):
        y = TOP + ROW * i + 8
        colour = COLOURS[claim["direction"]]
        out.append(f'<text x="12" y="{y + 4}">{html.escape(claim["paper"])}</text>')
        out.append(f'<text x="108" y="{y + 4}">{html.escape(claim["claim"])}</text>')
        error = 2 * (claim["standard_error"] or 0.0)
        low, high = x(claim["difference_points"] - error), x(claim["difference_points"] + error)
        low, high = max(low, LEFT), min(high, LEFT + WIDTH)
        out.append(
            f'<rect x="{low}" y="{y - 4}" width="{max(high - low, 1.5)}" height="8" fill="{colour}" opacity="0.3"/>'
        )
        middle = x(claim["difference_points"])
        out.append(f'<line x1="{middle}" x2="{middle}" y1="{y - 6}" y2="{y + 6}" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(v)}" cy="{y}" r="3" fill="{colour}"/>' for v in dots]
    return "\n".join([*out, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "ablations.svg", help="(default: %(default)s)")
    arguments = parser.parse_args()
    report = json.loads((RESULTS / "ablations.json").read_text(encoding="utf-8"))
    arguments.out.write_text(picture(report), encoding="utf-8")


if __name__ == "__main__":
    main()
