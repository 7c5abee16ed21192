"""`pilotage-train`: run a recipe, list what can be trained, measure a checkpoint."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pilotage.cli.command import EXIT_CODES
from pilotage.errors import PilotageError, require


def parser() -> argparse.ArgumentParser:
    """Build the command line. Nothing here imports torch."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="pilotage-train",
        description="Train Pilotage's encoders.",
        epilog=f"example: pilotage-train run --recipe nadir-512 --out runs/nadir --minutes 70\n{EXIT_CODES}",
        formatter_class=raw,
    )
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    run = verbs.add_parser(
        "run",
        help="train a recipe; resumes the checkpoint in --out",
        description="Train a recipe; resumes the checkpoint in --out.",
        epilog=f"example: pilotage-train run --recipe nadir-512 --out runs/nadir --minutes 70 "
        f"--orthophotos tiles/ --orthophoto-gsd-m 0.2\n{EXIT_CODES}",
        formatter_class=raw,
    )
    run.add_argument("--recipe", default="nadir-512", help="which recipe (default: %(default)s)")
    run.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and log.jsonl")
    run.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "pilotage", help="generated worlds")
    run.add_argument("--minutes", type=float, default=70.0, help="training time (default: %(default)s)")
    run.add_argument("--orthophotos", type=Path, help="folder of real orthophotos to learn from as well")
    run.add_argument("--orthophoto-gsd-m", type=float, default=0.2, help="their ground pixel (default: %(default)s)")
    run.add_argument("--threads", type=int, default=2, help="for torch (default: %(default)s)")
    run.add_argument("--workers", type=int, default=1, help="processes that draw batches (default: %(default)s)")
    models = verbs.add_parser(
        "models",
        help="list the recipes",
        description="List the recipes.",
        epilog=f"example: pilotage-train models --json\n{EXIT_CODES}",
        formatter_class=raw,
    )
    models.add_argument("--json", action="store_true", help="for machines")
    evaluate = verbs.add_parser(
        "evaluate",
        help="measure a checkpoint on worlds and orthophotos it never saw",
        description="Measure a checkpoint on worlds and orthophotos it never saw.",
        epilog=f"example: pilotage-train evaluate runs/nadir/nadir-512.pt --json\n{EXIT_CODES}",
        formatter_class=raw,
    )
    evaluate.add_argument("checkpoint", type=Path)
    evaluate.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "pilotage", help="generated worlds")
    evaluate.add_argument("--orthophotos", type=Path, help="folder that holds the held-out orthophotos")
    evaluate.add_argument(
        "--orthophoto-gsd-m", type=float, default=0.2, help="their ground pixel (default: %(default)s)"
    )
    evaluate.add_argument("--json", action="store_true", help="for machines")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv)
    try:
        require("torch", extra="train", purpose="pilotage-train")
        return _run(arguments)
    except PilotageError as error:
        print(f"pilotage-train: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pilotage-train: stopped; run again to resume", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    from pilotage_trainer import measure, train
    from pilotage_trainer.recipes import recipe

    if arguments.verb == "run":
        config = train.RunConfig(
            out=arguments.out,
            cache=arguments.cache,
            minutes=arguments.minutes,
            orthophotos=arguments.orthophotos,
            orthophoto_gsd_m=arguments.orthophoto_gsd_m,
            threads=arguments.threads,
            workers=arguments.workers,
        )
        print(train.run(recipe(arguments.recipe), config))
    elif arguments.verb == "models":
        rows = measure.zoo()
        print(json.dumps(rows, indent=1) if arguments.json else "\n".join(measure.describe_row(row) for row in rows))
    else:
        results = measure.held_out(
            arguments.checkpoint,
            cache=arguments.cache,
            orthophotos=arguments.orthophotos,
            orthophoto_gsd_m=arguments.orthophoto_gsd_m,
        )
        print(
            json.dumps(results, indent=1) if arguments.json else "\n".join(measure.describe_result(r) for r in results)
        )
    return 0
