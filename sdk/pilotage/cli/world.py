"""`pilotage world map|flight`: a synthetic region and a flight over it, as the files a real one would have."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pilotage.camera import Camera
from pilotage.cli.command import EXIT_CODES, Command
from pilotage.errors import MapError
from pilotage.flight import write_flight
from pilotage.picture import write_picture
from pilotage.progress import track
from pilotage.world import FlightPlan, World, WorldConfig, make_world, simulate
from pilotage.world.flight import exposures

_DEFAULT = WorldConfig()
_RAW = argparse.RawDescriptionHelpFormatter


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"example: pilotage world map --seed 7 -o region/\n{EXIT_CODES}"
    verbs = parser.add_subparsers(dest="world_verb", metavar="VERB", required=True)
    for verb, summary in (
        ("map", "write the map of a synthetic region: map.png and corners.json"),
        ("flight", "fly over the region on another day and write a flight folder with the truth"),
    ):
        sub = verbs.add_parser(verb, help=summary, description=summary, formatter_class=_RAW)
        sub.epilog = (
            f"example: pilotage world {verb} --seed 7 -o {'region' if verb == 'map' else 'flight'}/\n{EXIT_CODES}"
        )
        sub.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
        sub.add_argument("--seed", type=int, default=7, help="which world (default: %(default)s)")
        sub.add_argument("--size-m", type=float, default=_DEFAULT.size_m, help="of its side (default: %(default)s)")
        if verb == "flight":
            sub.add_argument("--seconds", type=float, default=20.0, help="(default: %(default)s)")
            sub.add_argument("--flight-seed", type=int, default=0, help="which flight (default: %(default)s)")


def write_map(world: World, folder: Path) -> Path:
    """Write map.png and corners.json; return the picture's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corners.json").write_text(json.dumps(world.corners(), indent=1), encoding="utf-8")
    write_picture(folder / "map.png", world.map_rgb)
    return folder / "map.png"


def _run(arguments: argparse.Namespace) -> int:
    try:
        world = make_world(arguments.seed, WorldConfig(size_m=arguments.size_m))
        if arguments.world_verb == "map":
            print(write_map(world, arguments.output))
            return 0
        plan = FlightPlan.draw(world, arguments.flight_seed, duration_s=arguments.seconds)
    except ValueError as error:
        raise MapError(str(error)) from error
    camera = Camera.from_hfov(640, 480, hfov_deg=84)
    frames = simulate(world, plan, camera, seed=arguments.flight_seed)
    count = write_flight(arguments.output, camera, track(frames, "fly", exposures(plan), unit="frame"))
    print(f"{arguments.output}: {count} frames")
    return 0


COMMAND = Command("world", "make a synthetic region and flights over it, to rehearse with", _configure, _run)
