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
from pilotage_trainer.data.public.listing import Listing
from pilotage_trainer.data.split import ImageFiles, Split, earth_xyz_m

PARTS = ("train", "val")
_LOCATIONS = "split_locations/all.csv"
Array = NDArray[np.float64]


def read(listing: Listing, part: str, findings: Findings, *, polar_files: bool = False) -> Split | None:
    """Read one part; what is wrong goes into the findings."""
    name = f"splits/{part}-19zl.csv"
    rows, wrong = [], []
    seen: dict[int, int] = {}
    for number, line in enumerate(listing.text(name), 1):
        fields = line.split(",")
        stem = PurePosixPath(fields[0]).stem
        if len(fields) not in (2, 3) or not stem.isdigit():
            wrong.append(f"{name}:{number}")
            continue
        aerial = fields[0].replace("bing", "polar").replace(".jpg", ".png") if polar_files else fields[0]
        if int(stem) in seen:
            findings.fault("ids named twice", [f"{name}:{number} and :{seen[int(stem)]}"])
        seen[int(stem)] = number
        rows.append((int(stem), aerial, fields[1]))
    findings.fault("lines that are not aerial,ground,annotation", wrong)
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


def _places(listing: Listing, ids: NDArray[np.int64], findings: Findings) -> tuple[Array | None, Array | None]:
    """Return aerial and ground positions, or none where the file is missing."""
    if not listing.has(_LOCATIONS):
        findings.note("files of positions missing (no GPS sampling, no metres)", [_LOCATIONS])
        return None, None
    lines = listing.text(_LOCATIONS)
    places = np.full((len(ids), 4), np.nan)
    wrong = []
    for i, number in enumerate(ids):
        try:
            places[i] = [float(v) for v in lines[number - 1].split(",")[:4]] if number >= 1 else np.nan
        except (IndexError, ValueError):
            wrong.append(f"{_LOCATIONS}:{number}")
    outside = ~(np.isfinite(places).all(axis=1) & (np.abs(places) <= [90, 180, 90, 180]).all(axis=1))
    findings.fault("positions that are none", wrong or [f"{_LOCATIONS}:{n}" for n in ids[outside]])
    return earth_xyz_m(places[:, 0], places[:, 1]), earth_xyz_m(places[:, 2], places[:, 3])
