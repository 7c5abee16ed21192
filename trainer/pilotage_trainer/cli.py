"""`pilotage-train`: check a data set, run a recipe, list models and recipes, measure a checkpoint."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pilotage.cli.command import EXIT_CODES
from pilotage.errors import PilotageError
from pilotage_trainer.extras import require_training

_CACHE = Path.home() / ".cache" / "pilotage"
_REAL_DATA = "PILOTAGE_REAL_DATA"


def parser() -> argparse.ArgumentParser:
    """Build the command line. Nothing here imports torch."""
    top = argparse.ArgumentParser(
        prog="pilotage-train",
        description="Train, compare and measure Pilotage's encoders.",
        epilog=f"example: pilotage-train run frgeo-world train.epochs=2 --out runs/first\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    models = _verb(verbs, "models", "List the models, with their sizes and their papers'.", "models --json")
    recipes = _verb(verbs, "recipes", "List the recipes, or show one whole.", "recipes frgeo-cvusa")
    recipes.add_argument("recipe", nargs="?", help="show this one, with everything it extends")
    check = _verb(verbs, "check", "Check a data set before training.", "check cvusa --data CVUSA/ --decode")
    check.add_argument("kind", help="cvusa, cvact, vigor or university")
    check.add_argument("--data", type=Path, required=True, help="its folder")
    check.add_argument("--decode", action="store_true", help="read every picture too: minutes, not seconds")
    _configure_run(
        _verb(
            verbs,
            "run",
            "Train a recipe; goes on where the checkpoint in --out stands.",
            "run frgeo-cvusa train.batch=64 train.lr=2e-4 --data CVUSA/ --workers 8\n"
            "example: torchrun --nproc-per-node 4 -m pilotage_trainer.cli run sample4geo-vigor --data VIGOR/",
        )
    )
    _configure_eval(
        _verb(
            verbs,
            "eval",
            "Measure a checkpoint: recall, hit rate, metres; a report in pictures.",
            "eval runs/frgeo-world/frgeo-world.pt --report runs/frgeo-world/report\n"
            "example: pilotage-train eval cvusa.pt --data CVUSA/ --cross CVACT/ --json",
        )
    )
    for verb in (models, recipes, check):
        verb.add_argument("--json", action="store_true", help="for machines")
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
    run.add_argument("recipe", help="a recipe by name (`pilotage-train recipes`), or a .toml file")
    run.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="changes to it, as train.lr=3e-4")
    run.add_argument("--data", type=Path, help="the data set's folder or file")
    run.add_argument("--out", type=Path, help="folder for checkpoint and logs (default: runs/RECIPE)")
    _configure_machine(run)
    run.add_argument("--save-s", type=float, default=180.0, help="seconds between checkpoints (default: %(default)s)")


def _configure_machine(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--cache", type=Path, default=_CACHE, help="rendered worlds (default: ~/.cache/pilotage)")
    verb.add_argument("--device", default="", help="cpu, cuda, cuda:1 (default: CUDA where there is one)")
    verb.add_argument("--threads", type=int, default=0, help="of torch on the CPU (default: torch's own choice)")
    verb.add_argument("--workers", type=int, default=0, help="processes that read pictures (default: %(default)s)")


def _configure_eval(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("checkpoint", type=Path)
    verb.add_argument("--data", type=Path, help="the data set's folder or file, where the recipe needs one")
    verb.add_argument("--part", nargs="+", help="parts to measure on (default: those the recipe validates on)")
    verb.add_argument("--cross", type=Path, help="another public data set's folder: measure there as well")
    verb.add_argument("--report", type=Path, help="write report.html and its pictures into this folder")
    _configure_machine(verb)
    verb.add_argument(
        "--orthophotos", type=Path, help="nadir weights: held-out pictures (default: REAL_DATA/town_tiles)"
    )
    verb.add_argument("--orthophoto-gsd-m", type=float, default=0.2, help="their ground pixel (default: %(default)s)")
    verb.add_argument(
        "--real-data", type=Path, help=f"nadir weights: folder with town_tiles/ and naip/ (default: ${_REAL_DATA})"
    )
    verb.add_argument("--json", action="store_true", help="for machines")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parsed(argv)
    try:
        require_training(extra="train", purpose="pilotage-train")
        return _VERBS[arguments.verb](arguments)
    except PilotageError as error:
        print(f"pilotage-train: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"pilotage-train: {error}", file=sys.stderr)  # the file and what the system says of it
        return PilotageError.exit_code
    except KeyboardInterrupt:
        print("pilotage-train: stopped; run again to go on", file=sys.stderr)
        return 130


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse; changes to a recipe may stand anywhere after it, which argparse alone does not allow."""
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    if rest and (arguments.verb != "run" or any(text.startswith("-") or "=" not in text for text in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.changes = [*arguments.changes, *rest]
    return arguments


def _models(arguments: argparse.Namespace) -> int:
    from pilotage_trainer.models.zoo import describe_row, rows

    _show(rows(), describe_row, as_json=arguments.json)
    return 0


def _recipes(arguments: argparse.Namespace) -> int:
    from pilotage_trainer.recipe import names, recipe

    if arguments.recipe:
        print(json.dumps(recipe(arguments.recipe).to_dict(), indent=1))
        return 0
    found = [recipe(name) for name in names()]
    listed = [{"name": of.name, "model": of.model.name, "data": of.data.kind, "source": of.source} for of in found]
    _show(listed, lambda r: f"{r['name']:<22} {r['model']:<11} {r['data']:<11} {r['source']}", as_json=arguments.json)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from pilotage_trainer.data.public import check

    report = check(arguments.kind, arguments.data, decode=arguments.decode)
    print(json.dumps(report.as_json(), indent=1) if arguments.json else "\n".join(report.lines()))
    return 0 if report.ok else PilotageError.exit_code


def _train(arguments: argparse.Namespace) -> int:
    from pilotage_trainer import train
    from pilotage_trainer.recipe import recipe

    of = recipe(arguments.recipe, arguments.changes)
    config = train.RunConfig(
        out=arguments.out or Path("runs") / of.name,
        cache=arguments.cache,
        data=arguments.data,
        device=arguments.device,
        threads=arguments.threads,
        workers=arguments.workers,
        save_s=arguments.save_s,
    )
    print(train.run(of, config))
    return 0


def _eval(arguments: argparse.Namespace) -> int:
    from pilotage_trainer import evaluation, held_out
    from pilotage_trainer.data.kinds import Where

    if evaluation.is_drawn(arguments.checkpoint):
        rows = held_out.measure(arguments.checkpoint, cache=arguments.cache, **_real(arguments))
        _show(rows, held_out.describe_result, as_json=arguments.json)
        return 0
    rows = evaluation.measure(
        arguments.checkpoint,
        where=Where(arguments.data, arguments.cache),
        machine=evaluation.Machine(arguments.device, arguments.threads, arguments.workers),
        parts=arguments.part,
        cross=arguments.cross,
        report=arguments.report,
    )
    _show(rows, evaluation.describe_row, as_json=arguments.json)
    return 0


def _real(arguments: argparse.Namespace) -> dict[str, Any]:
    real = arguments.real_data or (Path(os.environ[_REAL_DATA]) if os.environ.get(_REAL_DATA) else None)
    return {
        "orthophotos": arguments.orthophotos or (real / "town_tiles" if real else None),
        "orthophoto_gsd_m": arguments.orthophoto_gsd_m,
        "years": real / "naip" if real else None,
    }


def _show(rows: list[dict[str, Any]], line: Any, *, as_json: bool) -> None:
    print(json.dumps(rows, indent=1) if as_json else "\n".join(line(row) for row in rows))


_VERBS = {"models": _models, "recipes": _recipes, "check": _check, "run": _train, "eval": _eval}

if __name__ == "__main__":
    sys.exit(main())
