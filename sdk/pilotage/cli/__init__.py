"""The `pilotage` command: finds its verbs, runs one, and turns a refusal into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from pilotage import __version__
from pilotage.cli.command import EXIT_CODES, Command
from pilotage.errors import PilotageError

_OWN = ("pack", "store", "locate", "replay", "models", "world")


def commands() -> dict[str, Command]:
    """Return every verb: ours, and those that other packages register under `pilotage.commands`."""
    found = {name: importlib.import_module(f"pilotage.cli.{name}").COMMAND for name in _OWN}
    for entry in entry_points(group="pilotage.commands"):
        found[entry.name] = entry.load()
    return found


def parser() -> argparse.ArgumentParser:
    """Build the whole command line."""
    top = argparse.ArgumentParser(
        prog="pilotage",
        description="A position from the camera when GNSS is jammed, spoofed or absent.",
        epilog=f"example: pilotage locate a.jpg --pack town.region --height-m 100 --yaw-deg 30 --hfov-deg 80"
        f"\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"pilotage {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    for name, command in commands().items():
        sub = verbs.add_parser(
            name,
            help=command.summary,
            description=command.summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(sub)
        sub.set_defaults(run_command=command.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.run_command(arguments)
    except PilotageError as error:
        print(f"pilotage: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pilotage: stopped", file=sys.stderr)
        return 130
    return code
