"""`pilotage-export`: a checkpoint becomes what flies."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pilotage.cli.command import EXIT_CODES
from pilotage.errors import PilotageError, require
from pilotage_trainer.extras import require_training


def parser() -> argparse.ArgumentParser:
    """Build the command line. Nothing here imports torch."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="pilotage-export",
        description="Turn a checkpoint into what flies.",
        epilog=f"example: pilotage-export onnx runs/nadir/nadir-512.pt -o nadir-512.onnx\n{EXIT_CODES}",
        formatter_class=raw,
    )
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    onnx = verbs.add_parser(
        "onnx",
        help="write an ONNX encoder and prove its parity",
        description="Write an ONNX encoder and prove its parity with the checkpoint.",
        epilog=f"example: pilotage-export onnx runs/nadir-512.pt -o nadir-512.onnx --precision fp16\n{EXIT_CODES}",
        formatter_class=raw,
    )
    onnx.add_argument("checkpoint", type=Path)
    onnx.add_argument("-o", "--output", type=Path, required=True, help="the .onnx to write")
    onnx.add_argument("--precision", choices=("fp16", "fp32"), default="fp16", help="(default: %(default)s)")
    onnx.add_argument("--json", action="store_true", help="for machines")
    ship = verbs.add_parser(
        "ship",
        help="make a checkpoint the shipped weights, with a measured model card",
        description="Make a checkpoint the shipped weights: ONNX, model card and log into the package.",
        epilog=f"example: pilotage-export ship runs/n.pt --log runs/log.csv --orthophotos tiles/\n{EXIT_CODES}",
        formatter_class=raw,
    )
    ship.add_argument("checkpoint", type=Path)
    ship.add_argument("--log", type=Path, required=True, help="the log.csv of the training")
    ship.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "pilotage", help="generated worlds")
    ship.add_argument("--orthophotos", type=Path, help="folder that holds the held-out orthophotos")
    ship.add_argument("--real-data", type=Path, help="folder of recorded flights and NAIP years, for measuring only")
    ship.add_argument("--json", action="store_true", help="print the card")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv)
    try:
        require_training(extra="export", purpose="pilotage-export")
        require("onnx", extra="export", purpose="pilotage-export")
        return _ship(arguments) if arguments.verb == "ship" else _onnx(arguments)
    except PilotageError as error:
        print(f"pilotage-export: {error}", file=sys.stderr)
        return error.exit_code


def _ship(arguments: argparse.Namespace) -> int:
    from pilotage_export.ship import ship

    card = ship(
        arguments.checkpoint,
        log=arguments.log,
        cache=arguments.cache,
        orthophotos=arguments.orthophotos,
        real_data=arguments.real_data,
    )
    if arguments.json:
        print(json.dumps(card, indent=1))
    else:
        print(f"{card['name']}: {card['model_id']}, {card['size_mb']} MB")
        for row in card["measured"]:
            print(f"  {row['set']}: {row['metric']} {row['value']}")
    return 0


def _onnx(arguments: argparse.Namespace) -> int:
    from pilotage_export.onnx_export import export

    contract, proof = export(arguments.checkpoint, arguments.output, precision=arguments.precision)
    size_mb = arguments.output.stat().st_size / 1e6
    if arguments.json:
        print(json.dumps({"contract": json.loads(contract.to_json()), "parity": proof, "size_mb": size_mb}, indent=1))
    else:
        print(
            f"{arguments.output}: {contract.model_id}, {contract.precision}, {size_mb:.1f} MB, "
            f"cosine to torch float32 min {proof['min_cosine']:.5f} mean {proof['mean_cosine']:.5f}"
        )
    return 0
