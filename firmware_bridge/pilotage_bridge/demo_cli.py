"""`pilotage demo`: the whole product on a synthetic region, in one command, held against its bars."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pilotage.cli.command import Command
from pilotage.picture import write_picture
from pilotage_bridge.demo import DemoConfig, DemoResult, run
from pilotage_bridge.demo_picture import draw_track
from pilotage_bridge.demo_report import report

_DEFAULT = DemoConfig(out=Path("demo"))
BAR_MISSED = 3


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "example: pilotage demo --out demo --seed 7\n"
        "exit codes: 0 every bar held; 1 a missing optional dependency; 2 refused, one line says why; 3 bar missed"
    )
    parser.add_argument("--out", type=Path, default=_DEFAULT.out, help="folder to write (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=_DEFAULT.seed, help="which world (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=_DEFAULT.seconds, help="of flight (default: %(default)s)")
    parser.add_argument("--model", default=_DEFAULT.model, help="a shipped model or an .onnx (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the summary for machines")


def _run(arguments: argparse.Namespace) -> int:
    config = DemoConfig(out=arguments.out, seed=arguments.seed, seconds=arguments.seconds, model=arguments.model)
    result = run(config)
    write_picture(config.out / "track.png", draw_track(result.world, result.flight))
    for name, text in (("report.html", report(result)), ("summary.json", json.dumps(result.summary, indent=1))):
        part = config.out / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(config.out / name)
    print(json.dumps(result.summary, indent=1) if arguments.json else screen(result, config.out))
    return 0 if result.summary["verdict"] == "pass" else BAR_MISSED


def screen(result: DemoResult, out: Path) -> str:
    """Return the one-screen summary."""
    summary = result.summary
    mavlink = summary["mavlink"]
    lines = [f"\nPilotage demo, seed {summary['seed']}, {summary['frames']} frames, no GNSS, no prior", ""]
    for bar in result.bars:
        value = "none" if bar.value is None else f"{bar.value:.3f}".rstrip("0").rstrip(".")
        sign = ">=" if bar.at_least else "<="
        lines.append(f"  {'held  ' if bar.held else 'MISSED'}  {bar.name:<32} {value:>10}   bar {sign} {bar.limit:g}")
    coverage = summary["coverage_1sigma"]
    heard = ", ".join(f"{count} {name}" for name, count in sorted(mavlink["messages"].items()))
    lines += [
        "",
        f"  covariance: {'none' if coverage is None else f'{coverage:.0%}'} of errors inside 1 sigma (68 % is honest)",
        f"  MAVLink:    {mavlink['decoded']} of {mavlink['sent']} messages decoded by the listener: {heard}",
        f"  pack:       {summary['pack']['file']}, {summary['pack']['size_mb']:.1f} MB",
        f"  time:       {summary['seconds']['total']:.0f} s in all",
        f"  look at:    {out / 'report.html'}, {out / 'track.png'}, {out / 'summary.json'}",
        "",
        "PASS: every bar held" if summary["verdict"] == "pass" else "FAIL: a bar was missed",
    ]
    return "\n".join(lines)


COMMAND = Command("demo", "fly a synthetic region without GNSS and hold the result against its bars", _configure, _run)
