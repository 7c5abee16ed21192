"""CVUSA: 35,532 pairs to train, 8,884 to test; panoramas already cropped, tiles of 750 px.

`bingmap/19/<id>.jpg`, `streetview/panos/<id>.jpg`, `splits/{train,val}-19zl.csv` (aerial, ground, annotation; no
header), `split_locations/all.csv` (row id - 1: aerial lat, lon, ground lat, lon). Ready polar tiles:
`polarmap/19/<id>.png`.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pilotage_trainer.data.findings import Findings
from pilotage_trainer.data.public.listing import Listing, whole_number
from pilotage_trainer.data.split import ImageFiles, Split, earth_xyz_m

PARTS = ("train", "val")
_LOCATIONS = "split_locations/all.csv"
Array = NDArray[np.float64]


def read(listing: Listing, part: str, findings: Findings, *, polar_files: bool = False) -> Split | None:
    """Read one part; what is wrong goes into the findings."""
    rows = _pairs(listing, f"splits/{part}-19zl.csv", findings)
    if polar_files:
        rows = [(i, aerial.replace("bing", "polar").replace(".jpg", ".png"), ground) for i, aerial, ground in rows]
    for column, side in ((1, "aerial pictures"), (2, "panoramas")):
        findings.fault(f"{side} missing", [str(row[column]) for row in rows if not listing.has(str(row[column]))])
    findings.counts[f"{part} pairs"] = len(rows)
    ids = np.array([row[0] for row in rows], np.int64)
    if not findings.ok:
        return None
    aerial_xyz_m, query_xyz_m = _places(listing, ids, findings)
    if findings.faults:
        return None
    return Split(
        name=f"CVUSA {part}",
        query=ImageFiles([listing.path(row[2]) for row in rows]),
        aerial=ImageFiles([listing.path(row[1]) for row in rows]),
        query_id=ids,
        aerial_id=ids,
        query_xyz_m=query_xyz_m,
        aerial_xyz_m=aerial_xyz_m,
    )


def _pairs(listing: Listing, name: str, findings: Findings) -> list[tuple[int, str, str]]:
    """Return (id, aerial path, ground path) of every line that has them."""
    rows = []
    seen: dict[int, int] = {}
    for number, line in listing.lines(name):
        fields = [field.strip() for field in line.split(",")]
        stems = [PurePosixPath(field).stem for field in fields[:2]]
        pair_id = whole_number(stems[0])
        if len(fields) not in (2, 3) or pair_id is None:
            findings.fault("lines that are not aerial,ground,annotation", [f"{name}:{number}"])
            continue
        if whole_number(stems[1]) != pair_id:
            findings.fault("lines that pair two different ids", [f"{name}:{number} ({stems[0]}, {stems[1]})"])
        if pair_id in seen:
            findings.fault("ids named twice", [f"{name}:{number} and :{seen[pair_id]}"])
        seen[pair_id] = number
        rows.append((pair_id, fields[0], fields[1]))
    return rows


def _places(listing: Listing, ids: NDArray[np.int64], findings: Findings) -> tuple[Array | None, Array | None]:
    """Return aerial and ground positions, or none where the file is missing."""
    if not listing.has(_LOCATIONS):
        findings.note("files of positions missing (no GPS sampling, no metres)", [_LOCATIONS])
        return None, None
    lines = dict(listing.lines(_LOCATIONS))
    places = np.full((len(ids), 4), np.nan)
    for i, number in enumerate(ids):
        places[i] = _numbers(lines.get(int(number), ""))
    findings.fault("headers or blank lines in a file that is read by line number", _shifted(lines))
    good = np.isfinite(places).all(axis=1) & (np.abs(places) <= [90, 180, 90, 180]).all(axis=1)
    findings.fault("positions that are none", [f"{_LOCATIONS}:{n}" for n in ids[~good]])
    return earth_xyz_m(places[:, 0], places[:, 1]), earth_xyz_m(places[:, 2], places[:, 3])


def _shifted(lines: dict[int, str]) -> list[str]:
    """Return what would give every later id its neighbour's place."""
    blank = sorted(set(range(1, max(lines))) - set(lines))
    header = [] if 1 not in lines or any(np.isfinite(_numbers(lines[1]))) else [1]
    return [f"{_LOCATIONS}:{number}" for number in header + blank]


def _numbers(line: str) -> list[float]:
    """Return the four numbers that a line begins with; NaN for what is none."""
    try:
        found = [float(field) for field in line.split(",")[:4]]
    except ValueError:
        found = []
    return found if len(found) == 4 else [np.nan] * 4
