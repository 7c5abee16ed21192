"""`pilotage listen`: an independent ear on the MAVLink that we send."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pilotage.cli.command import EXIT_CODES, Command
from pilotage.errors import PilotageError
from pilotage_bridge.listen import ListenConfig, listen, summary

_EPILOG = f"""examples:
  pilotage listen --port 14550 --json heard.json --idle-s 5
  python -m pilotage_bridge.listen_cli --port 0 --seconds 60

The first line printed is `listening on HOST:PORT`, when the port is open. It ends after --seconds, after
--idle-s of silence, or on Ctrl-C or SIGTERM, and writes the whole report or none.

{EXIT_CODES}"""


def _configure(parser: argparse.ArgumentParser) -> None:
    default = ListenConfig()
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--port", type=int, default=default.port, help="UDP port, 0 for a free one (%(default)s)")
    parser.add_argument("--host", default=default.host, help="address to bind: this machine only, unless you say")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every count and GPS_INPUT here")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds")
    parser.add_argument("--idle-s", type=float, metavar="S", help="stop after S seconds of silence, once heard")


def _run(arguments: argparse.Namespace) -> int:
    config = ListenConfig(
        host=arguments.host,
        port=arguments.port,
        seconds=arguments.seconds,
        idle_s=arguments.idle_s,
        json_path=arguments.json,
    )
    say = partial(print, flush=True)
    say(summary(listen(config, say=say)))
    return 0


COMMAND = Command(
    name="listen", summary="decode the MAVLink on a UDP port and count it", configure=_configure, run=_run
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the listener alone, as a demo or a test starts it."""
    parser = argparse.ArgumentParser(prog="pilotage listen", description=COMMAND.summary)
    COMMAND.configure(parser)
    try:
        return COMMAND.run(parser.parse_args(argv))
    except PilotageError as error:
        print(f"pilotage: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
