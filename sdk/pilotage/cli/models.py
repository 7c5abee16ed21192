"""`pilotage models`: what ships, what it takes, how good it was."""

from __future__ import annotations

import argparse
import json

from pilotage import models
from pilotage.cli.command import EXIT_CODES, Command


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"example: pilotage models --json\n{EXIT_CODES}"
    parser.add_argument("--json", action="store_true", help="for machines")


def _run(arguments: argparse.Namespace) -> int:
    cards = [models.card(name) for name in models.names()]
    if arguments.json:
        print(json.dumps(cards, indent=1))
        return 0
    for card in cards:
        contract = card["contract"]
        low, high = contract["ground_size_m"]
        print(
            f"{card['name']}: {contract['view']} view, {contract['height']}x{contract['width']} px uint8 RGB, "
            f"{contract['descriptor']}-d, tiles of {low:g}..{high:g} m, {card['parameters_m']:.1f} M parameters, "
            f"{card['size_mb']:.1f} MB {contract['precision']}, licence {card['licence']}\n  {card['model_id']}, "
            f"{card['trained_on']}"
        )
        for row in card["measured"]:
            print(f"  {row['set']}: {row['metric']} {row['value']}")
    return 0


COMMAND = Command("models", "list the encoders that ship, their input contract and measured accuracy", _configure, _run)
