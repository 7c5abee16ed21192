"""`pilotage locate IMAGE`: where was this picture taken? One frame, no track."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from pilotage.camera import Camera
from pilotage.cli.command import EXIT_CODES, Command
from pilotage.errors import CameraError, FlightError
from pilotage.picture import read_picture
from pilotage.replay import localiser
from pilotage.values import Frame


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "example: pilotage locate frame.jpg --pack town.region --height-m 100 --yaw-deg 30 --hfov-deg 80 --json\n"
        f"{EXIT_CODES}"
    )
    parser.add_argument("image", type=Path, help="PNG or JPEG")
    parser.add_argument("--pack", type=Path, required=True, help="the region")
    parser.add_argument("--height-m", type=float, required=True, help="of the camera above the ground")
    parser.add_argument("--yaw-deg", type=float, required=True, help="of the body, clockwise from true north")
    parser.add_argument("--roll-deg", type=float, default=0.0, help="(default: %(default)s)")
    parser.add_argument("--pitch-deg", type=float, default=0.0, help="(default: %(default)s)")
    camera = parser.add_mutually_exclusive_group(required=True)
    camera.add_argument("--camera", type=Path, help="camera.json")
    camera.add_argument("--hfov-deg", type=float, help="horizontal field of view of an ideal camera")
    parser.add_argument("--json", action="store_true", help="for machines")


def _run(arguments: argparse.Namespace) -> int:
    for name in ("height_m", "yaw_deg", "roll_deg", "pitch_deg"):
        if not math.isfinite(getattr(arguments, name)):
            raise FlightError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}: give a finite number")
    image = read_picture(arguments.image)
    rows, columns = image.shape[:2]
    if arguments.camera is not None:
        camera = Camera.load(arguments.camera)
        if (camera.width, camera.height) != (columns, rows):
            raise CameraError(
                f"{arguments.camera}: is for {camera.width}x{camera.height} px, {arguments.image} has "
                f"{columns}x{rows}: use the camera file of this camera and mode"
            )
    else:
        camera = Camera.from_hfov(columns, rows, hfov_deg=arguments.hfov_deg)
    frame = Frame(
        image=image,
        stamp_ns=0,
        roll_rad=math.radians(arguments.roll_deg),
        pitch_rad=math.radians(arguments.pitch_deg),
        yaw_rad=math.radians(arguments.yaw_deg),
        height_m=arguments.height_m,
        camera=camera,
    )
    with localiser(arguments.pack) as onboard:
        fix = onboard.locate(frame)
    if arguments.json:
        print(json.dumps(fix.to_dict(), indent=1))
    elif fix.has_position:
        print(
            f"{fix.lat_deg:.7f}, {fix.lon_deg:.7f}  1 sigma {fix.std_horizontal_m:.1f} m, heading "
            f"{math.degrees(fix.heading_rad):.1f} deg, score {fix.score:.2f}"
        )
    else:
        print(f"no position: {fix.verdict.value}")
    return 0


COMMAND = Command("locate", "answer for one picture: where was it taken, and how sure is that", _configure, _run)
