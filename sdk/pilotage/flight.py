"""The flight folder: `camera.json`, `frames.csv` and pictures. Recorded once, replayed for ever, bit for bit.

`frames.csv` has the columns file, time_s, height_m, roll_deg, pitch_deg, yaw_deg and, where the truth is known, lat,
lon and alt_m, blank in the frames where it is not. Further columns are left alone.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pilotage.camera import Camera
from pilotage.errors import FlightError
from pilotage.picture import read_picture, write_picture
from pilotage.values import Frame, Truth

_NEEDED = ("file", "time_s", "height_m", "roll_deg", "pitch_deg", "yaw_deg")


@dataclass(frozen=True, slots=True)
class Exposure:
    """One row of `frames.csv`."""

    file: str
    time_s: float
    height_m: float
    roll_deg: float
    pitch_deg: float
    yaw_deg: float
    truth: Truth | None


class FlightFolder:
    """A recorded flight. All rows are checked at once; pictures are read one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise FlightError(f"{folder}: no such flight folder")
        self.camera = Camera.load(folder / "camera.json")
        self.exposures = _read_rows(folder / "frames.csv")
        missing = [e.file for e in self.exposures if not (folder / e.file).is_file()]
        if missing:
            raise FlightError(
                f"{folder}: {len(missing)} pictures of frames.csv are missing, the first is {missing[0]!r}"
            )

    @property
    def has_truth(self) -> bool:
        """Whether every exposure knows where it really was."""
        return all(e.truth is not None for e in self.exposures)

    def frames(self) -> Iterator[tuple[Frame, Truth | None]]:
        """Yield every frame in order of time."""
        for exposure in self.exposures:
            yield (
                Frame(
                    image=read_picture(self.folder / exposure.file),
                    stamp_ns=round(exposure.time_s * 1e9),
                    roll_rad=math.radians(exposure.roll_deg),
                    pitch_rad=math.radians(exposure.pitch_deg),
                    yaw_rad=math.radians(exposure.yaw_deg),
                    height_m=exposure.height_m,
                    camera=self.camera,
                ),
                exposure.truth,
            )


def _read_rows(path: Path) -> list[Exposure]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            lacking = [name for name in _NEEDED if name not in columns]
            if lacking:
                raise FlightError(f"{path}: column {lacking[0]!r} is missing; needed are {','.join(_NEEDED)}")
            with_truth = "lat" in columns and "lon" in columns
            rows = [_row(path, number, raw, with_truth=with_truth) for number, raw in enumerate(reader, start=2)]
    except FileNotFoundError as error:
        raise FlightError(
            f"{path}: no such file; a flight folder holds camera.json, frames.csv and pictures"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FlightError(f"{path}: cannot be read as CSV ({error})") from error
    if not rows:
        raise FlightError(f"{path}: has no frames")
    rows.sort(key=lambda row: row.time_s)
    return rows


def _row(path: Path, number: int, raw: dict[str, str | None], *, with_truth: bool) -> Exposure:
    def value(column: str) -> float:
        text = raw.get(column)
        try:
            parsed = float(text if text is not None else "")
        except ValueError:
            raise FlightError(f"{path}, line {number}: {column} is {text!r}, not a number") from None
        if not math.isfinite(parsed):
            raise FlightError(
                f"{path}, line {number}: {column} is {text!r}: leave out frames without a finite {column}"
            )
        return parsed

    file = raw.get("file") or ""
    if not file or Path(file).is_absolute() or ".." in Path(file).parts:
        raise FlightError(f"{path}, line {number}: file {file!r} must name a picture inside the folder")
    truth = None
    if with_truth and (raw.get("lat") or raw.get("lon")):
        alt_m = value("alt_m") if raw.get("alt_m") else math.nan
        truth = Truth(round(value("time_s") * 1e9), value("lat"), value("lon"), alt_m)
    angles = (value("roll_deg"), value("pitch_deg"), value("yaw_deg"))
    return Exposure(file, value("time_s"), value("height_m"), *angles, truth)


def write_flight(folder: Path, camera: Camera, frames: Iterable[tuple[Frame, Truth | None]]) -> int:
    """Write a flight folder; return how many frames. `frames.csv` comes last, so that a cut-off folder says so."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "camera.json").write_text(json.dumps(camera.to_dict(), indent=1), encoding="utf-8")
    rows: list[list[object]] = []
    for index, (frame, truth) in enumerate(frames):
        name = f"{index:06d}.jpg"
        write_picture(folder / name, frame.image)
        angles = [round(math.degrees(a), 4) for a in (frame.roll_rad, frame.pitch_rad, frame.yaw_rad)]
        row: list[object] = [name, f"{frame.stamp_ns / 1e9:.6f}", round(frame.height_m, 3), *angles]
        if truth is not None:
            row += [f"{truth.lat_deg:.8f}", f"{truth.lon_deg:.8f}", round(truth.alt_m, 3)]
        rows.append(row)
    header = [*_NEEDED, "lat", "lon", "alt_m"]
    part = folder / "frames.csv.part"
    with part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header[: max(map(len, rows))] if rows else header)
        writer.writerows(rows)
    part.replace(folder / "frames.csv")
    return len(rows)
