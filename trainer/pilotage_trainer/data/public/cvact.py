"""CVACT: full-sphere panoramas of Canberra against tiles of 1200 px; `ACT_data.mat` says what is where.

Indices in it are MATLAB's, from 1. Train and val pictures lie in `ANU_data_small`, the 92,802 of the test in
`ANU_data_test`. A few files are absent from every copy of this set: such pairs are left out and counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ModelError, require
from pilotage_trainer.data.findings import Findings
from pilotage_trainer.data.public.listing import Listing
from pilotage_trainer.data.split import ImageFiles, Split

PARTS = ("train", "val", "test")
_INDEX = {"train": ("trainSet", "trainInd"), "val": ("valSet", "valInd"), "test": ("valSetAll", "valInd")}
_FOLDER = {"train": "ANU_data_small", "val": "ANU_data_small", "test": "ANU_data_test"}
_ABSENT = 0.01  # of the pairs: more, and the copy is not whole
_SAME_PLACE_M = 25.0  # SAFA's radius of what shows the same place
_LARGEST_UTM_M = 1e7  # a northing


def read(listing: Listing, part: str, findings: Findings) -> Split | None:
    """Read one part; what is wrong goes into the findings."""
    names, utm, index = _table(listing, part)
    outside = index[(index < 0) | (index >= len(names))]
    findings.fault("indices out of range", [str(i + 1) for i in outside])
    findings.fault("ids named twice", [str(i + 1) for i in _repeated(index)])
    if not findings.ok:
        return None
    findings.fault("parts without a pair", [] if len(index) else [part])
    far = ~(np.isfinite(utm[index]) & (np.abs(utm[index]) <= _LARGEST_UTM_M)).all(axis=1)
    findings.fault("positions that are none", [names[i] for i in index[far]])
    if len(index) > 1 and not far.any() and np.abs(utm[index]).max() <= 360:
        findings.fault("files of positions that hold degrees, not metres", ["ACT_data.mat: utm"])
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


def _table(listing: Listing, part: str) -> tuple[list[str], NDArray[np.float64], NDArray[np.int64]]:
    """Return every panorama's name, easting and northing, and the rows of one part, from 0."""
    path = listing.file("ACT_data.mat")
    matlab = require("scipy.io", extra="train", purpose="reading ACT_data.mat")
    section, field = _INDEX[part]
    try:
        table: dict[str, Any] = matlab.loadmat(path)
        names = [str(np.squeeze(name).item()) for name in np.ravel(table["panoIds"])]
        utm = np.asarray(table["utm"], np.float64)
        matlab_index = np.asarray(table[section][field][0][0], np.float64).ravel()
    except (
        Exception
    ) as error:  # scipy meets damage with ten kinds, MatReadError, zlib.error, UnboundLocalError among them
        raise ModelError(f"{path}: not CVACT's table ({type(error).__name__}: {error})") from error
    wrong = matlab_index[~(np.abs(matlab_index) < 2**53) | (matlab_index % 1 != 0)]
    if len(wrong):
        raise ModelError(f"{path}: {section}.{field} holds {wrong[0]:g}, which is no index")
    if utm.shape != (len(names), 2):
        raise ModelError(f"{path}: {len(names)} panoramas, but positions of shape {utm.shape}")
    for name in names:
        listing.path(name)
        if "/" in name:
            raise ModelError(f"{path}: names a panorama {name!r}")
    return names, utm, matlab_index.astype(np.int64) - 1
