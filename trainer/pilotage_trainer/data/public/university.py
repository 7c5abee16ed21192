"""University-1652: drone views against satellite tiles of 1,652 buildings, a folder a building.

`train/{drone,satellite}/<id>/`, `test/{query_drone,gallery_drone,query_satellite,gallery_satellite}/<id>/`. The
satellite gallery of the test has 250 buildings that no query shows; the Sample4Geo line of code leaves them out: that
protocol is `drone-sat-701`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ModelError
from pilotage_trainer.data.findings import Findings
from pilotage_trainer.data.public.listing import Listing, whole_number
from pilotage_trainer.data.split import ImageFiles, Split

_FOLDERS = {
    "train": ("train/drone", "train/satellite"),
    "drone-sat": ("test/query_drone", "test/gallery_satellite"),
    "sat-drone": ("test/query_satellite", "test/gallery_drone"),
    "drone-sat-701": ("test/query_drone", "test/gallery_satellite"),
}
PARTS = tuple(_FOLDERS)
_PICTURES = (".jpg", ".jpeg", ".png")


def read(listing: Listing, part: str, findings: Findings) -> Split | None:
    """Read one part; what is wrong goes into the findings."""
    (queries, query_id), (aerials, aerial_id) = (_pictures(listing, folder, findings) for folder in _FOLDERS[part])
    alone = np.setdiff1d(query_id, aerial_id)
    findings.fault("buildings with queries and no reference", [f"{_FOLDERS[part][0]}/{i:04d}" for i in alone])
    if part == "train":
        unseen = np.setdiff1d(aerial_id, query_id)
        findings.note("buildings that no query shows", [f"{_FOLDERS[part][1]}/{i:04d}" for i in unseen])
    if part.endswith("701"):
        kept = np.isin(aerial_id, query_id)
        aerials, aerial_id = [path for path, keep in zip(aerials, kept, strict=True) if keep], aerial_id[kept]
    findings.counts |= {f"{part} queries": len(queries), f"{part} references": len(aerials)}
    if not findings.ok:
        return None
    return Split(
        name=f"University-1652 {part}",
        query=ImageFiles([listing.path(path) for path in queries]),
        aerial=ImageFiles([listing.path(path) for path in aerials]),
        query_id=query_id,
        aerial_id=aerial_id,
    )


def _pictures(listing: Listing, folder: str, findings: Findings) -> tuple[list[str], NDArray[np.int64]]:
    """Return every picture below a folder and the building it shows."""
    buildings = sorted(name for name in listing.names(folder) if whole_number(name) is not None)
    if not buildings:
        raise ModelError(
            f"{listing.folder / folder}: no folders of buildings: is {listing.folder} the data set's own folder?"
        )
    paths: list[str] = []
    ids: list[int] = []
    for building in buildings:
        found = sorted(n for n in listing.names(f"{folder}/{building}") if n.lower().endswith(_PICTURES))
        findings.fault("folders of buildings without a picture", [] if found else [f"{folder}/{building}"])
        paths += [f"{folder}/{building}/{name}" for name in found]
        ids += [int(building)] * len(found)
    return paths, np.array(ids, np.int64)
