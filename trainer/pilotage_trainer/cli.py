"""`pilotage-train`: run a recipe, list what can be trained, measure a checkpoint."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pilotage.cli.command import EXIT_CODES
from pilotage.errors import PilotageError
from pilotage_trainer.extras import require_training

_CACHE = Path.home() / ".cache" / "pilotage"
_REAL_DATA = "PILOTAGE_REAL_DATA"


def parser() -> argparse.ArgumentParser:
    """Build the command line. Nothing here imports torch."""
    top = argparse.ArgumentParser(
        prog="pilotage-train",
        description="Train Pilotage's encoders.",
        epilog=f"example: pilotage-train run --recipe nadir-512 --out runs/nadir --minutes 70\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    _configure_run(
        _verb(
            verbs,
            "run",
            "Train a recipe; resumes the checkpoint in --out.",
            "run --recipe nadir-512 --out runs/nadir --minutes 70 --orthophotos tiles/ --orthophoto-gsd-m 0.2",
        )
    )
    models = _verb(verbs, "models", "List the recipes.", "models --json")
    models.add_argument("--json", action="store_true", help="for machines")
    _configure_evaluate(
        _verb(
            verbs,
            "evaluate",
            "Measure a checkpoint on ground it never saw.",
            "evaluate runs/nadir/nadir-512.pt --real-data real/ --json",
        )
    )
    return top


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    return verbs.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example: pilotage-train {example}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _configure_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("--recipe", default="nadir-512", help="which recipe (default: %(default)s)")
    run.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and log.jsonl")
    run.add_argument("--cache", type=Path, default=_CACHE, help="generated worlds (default: ~/.cache/pilotage)")
    run.add_argument("--minutes", type=_minutes, default=70.0, help="training time (default: %(default)s)")
    run.add_argument("--orthophotos", type=Path, help="folder of real orthophotos to learn from as well")
    run.add_argument("--orthophoto-gsd-m", type=float, default=0.2, help="their ground pixel (default: %(default)s)")
    run.add_argument("--threads", type=int, default=2, help="for torch (default: %(default)s)")
    run.add_argument("--workers", type=int, default=1, help="processes that draw batches (default: %(default)s)")


def _configure_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("checkpoint", type=Path)
    evaluate.add_argument("--cache", type=Path, default=_CACHE, help="generated worlds (default: ~/.cache/pilotage)")
    evaluate.add_argument(
        "--orthophotos", type=Path, help="folder with the held-out orthophotos (default: REAL_DATA/town_tiles)"
    )
    evaluate.add_argument(
        "--orthophoto-gsd-m", type=float, default=0.2, help="their ground pixel (default: %(default)s)"
    )
    evaluate.add_argument(
        "--real-data", type=Path, help=f"folder that holds town_tiles/ and naip/ (default: ${_REAL_DATA}, else neither)"
    )
    evaluate.add_argument("--json", action="store_true", help="for machines")


def _minutes(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a time to train: give minutes above 0")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv)
    try:
        require_training(extra="train", purpose="pilotage-train")
        return _run(arguments)
    except PilotageError as error:
        print(f"pilotage-train: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"pilotage-train: {error}", file=sys.stderr)  # the file and what the system says of it
        return PilotageError.exit_code
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
        return 0
    if arguments.verb == "models":
        rows = measure.zoo()
        lines = [measure.describe_row(row) for row in rows]
    else:
        real = arguments.real_data or (Path(os.environ[_REAL_DATA]) if os.environ.get(_REAL_DATA) else None)
        rows = measure.held_out(
            arguments.checkpoint,
            cache=arguments.cache,
            orthophotos=arguments.orthophotos or (real / "town_tiles" if real else None),
            orthophoto_gsd_m=arguments.orthophoto_gsd_m,
            years=real / "naip" if real else None,
        )
        lines = [measure.describe_result(row) for row in rows]
    print(json.dumps(rows, indent=1) if arguments.json else "\n".join(lines))
    return 0
