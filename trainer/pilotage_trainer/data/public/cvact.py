"""CVACT: full-sphere panoramas of Canberra against tiles of 1200 px; `ACT_data.mat` says what is where.

Indices in it are MATLAB's, from 1. Train and val pictures lie in `ANU_data_small`, the 92,802 of the test in
`ANU_data_test`. A few files are absent from every copy of this set: such pairs are left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ModelError, require
from pilotage_trainer.data.findings import Findings
from pilotage_trainer.data.public.listing import Listing
from pilotage_trainer.data.split import ImageFiles, Split

PARTS = ("train", "val", "test")
_INDEX = {"train": ("trainSet", "trainInd"), "val": ("valSet", "valInd"), "test": ("valSetAll", "valInd")}
_TABLE = "ACT_data.mat"
_FOLDER = {"train": "ANU_data_small", "val": "ANU_data_small", "test": "ANU_data_test"}
_ABSENT = 0.01  # of the pairs: more, and the copy is not whole
_SAME_PLACE_M = 25.0  # SAFA's radius of what shows the same place
_LARGEST_UTM_M = 1e7  # a northing


def read(listing: Listing, part: str, findings: Findings) -> Split | None:
    """Read one part; what is wrong goes into the findings."""
    table = _table(listing)
    names, utm, index = table.names, table.utm_m, _index(table, part)
    outside = index[(index < 0) | (index >= len(names))]
    findings.fault("indices out of range", [str(i + 1) for i in outside])
    findings.fault("ids named twice", [str(i + 1) for i in _repeated(index)])
    if not findings.ok:
        return None
    findings.fault("parts without a pair", [] if len(index) else [part])
    far = ~(np.isfinite(utm[index]) & (np.abs(utm[index]) <= _LARGEST_UTM_M)).all(axis=1)
    findings.fault("positions that are none", [names[i] for i in index[far]])
    if len(index) > 1 and not far.any() and np.abs(utm[index]).max() <= 360:
        findings.fault("files of positions that hold degrees, not metres", [f"{_TABLE}: utm"])
    ground, satellite = f"{_FOLDER[part]}/streetview", f"{_FOLDER[part]}/satview_polish"
    pairs = [(int(i), f"{ground}/{names[i]}_grdView.jpg", f"{satellite}/{names[i]}_satView_polish.jpg") for i in index]
    there = [pair for pair in pairs if listing.has(pair[1]) and listing.has(pair[2])]
    absent = [names[i] for i in np.setdiff1d(index, [pair[0] for pair in there])]
    if len(absent) > _ABSENT * len(pairs):
        findings.fault(f"of {len(pairs)} pairs of {part} without both pictures", absent)
    else:
        findings.note(f"pairs of {part} left out: a picture is absent", absent)
    findings.counts[f"{part} pairs"] = len(there)
    if not findings.ok or not there:
        return None
    ids = np.array([pair[0] for pair in there], np.int64)
    xyz_m = np.column_stack([utm[ids], np.zeros(len(ids))])
    return Split(
        name=f"CVACT {part}",
        query=ImageFiles([listing.path(pair[1]) for pair in there]),
        aerial=ImageFiles([listing.path(pair[2]) for pair in there]),
        query_id=ids,
        aerial_id=ids,
        query_xyz_m=xyz_m,
        aerial_xyz_m=xyz_m,
        apart_m=_SAME_PLACE_M if part == "train" else 0.0,
    )


def _repeated(index: NDArray[np.int64]) -> NDArray[np.int64]:
    values, counts = np.unique(index, return_counts=True)
    return np.asarray(values[counts > 1])


@dataclass(frozen=True, slots=True)
class _Table:
    """Every panorama's name, easting and northing, and the rows of each part, from 1."""

    names: list[str]
    utm_m: NDArray[np.float64]
    rows: dict[str, NDArray[np.float64]]


def _table(listing: Listing) -> _Table:
    """Read what says which panorama is where; it is kept for the other parts."""
    if _TABLE not in listing.kept:
        path = listing.file(_TABLE)
        matlab = require("scipy.io", extra="train", purpose=f"reading {_TABLE}")
        try:
            found = matlab.loadmat(path)
            names = [str(np.squeeze(name).item()) for name in np.ravel(found["panoIds"])]
            utm_m = np.asarray(found["utm"], np.float64)
            rows = {
                part: np.asarray(found[s][f][0][0], np.float64).ravel() for part, (s, f) in _INDEX.items() if s in found
            }
        except Exception as error:  # damage has many kinds: MatReadError, zlib.error, UnboundLocalError among them
            raise ModelError(f"{path}: not CVACT's table ({type(error).__name__}: {error})") from error
        if utm_m.shape != (len(names), 2):
            raise ModelError(f"{path}: {len(names)} panoramas, but positions of shape {utm_m.shape}")
        for name in names:
            if "/" in name or "\\" in name or "\0" in name:
                raise ModelError(f"{path}: names a panorama {name!r}, which is not a path below the folder")
        listing.kept[_TABLE] = _Table(names, utm_m, rows)
    table: _Table = listing.kept[_TABLE]
    return table


def _index(table: _Table, part: str) -> NDArray[np.int64]:
    """Return the rows of one part, from 0."""
    if part not in table.rows:
        raise ModelError(f"{_TABLE}: holds no {_INDEX[part][0]}, the part {part!r}")
    rows = table.rows[part]
    wrong = rows[~(np.abs(rows) < 2**53) | (rows % 1 != 0)]
    if len(wrong):
        raise ModelError(f"{_TABLE}: {'.'.join(_INDEX[part])} holds {wrong[0]:g}, which is no index")
    return rows.astype(np.int64) - 1
