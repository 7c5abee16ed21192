"""The public data sets, found by folder and checked before anything is trained on them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pilotage.errors import ImageError, ModelError
from pilotage.progress import track
from pilotage_trainer.data.findings import Findings
from pilotage_trainer.data.public import cvact, cvusa, university, vigor
from pilotage_trainer.data.public.listing import Listing
from pilotage_trainer.data.split import Images, Split

SETS = {"cvusa": cvusa, "cvact": cvact, "vigor": vigor, "university": university}


def open_split(kind: str, folder: Path, part: str, **options: Any) -> tuple[Split, Findings]:
    """Return a part of a data set and what was found on the way; a faulty one is refused with the whole report."""
    source = _source(kind)
    if part not in source.PARTS:
        raise ModelError(f"{kind} has no part {part!r}; it has {', '.join(source.PARTS)}")
    findings = Findings(f"{kind} {part} in {folder}")
    split: Split | None = source.read(Listing(folder), part, findings, **options)
    if split is None:
        raise ModelError("\n".join(findings.lines()))
    return split, findings


def check(kind: str, folder: Path, *, decode: bool = False) -> Findings:
    """Look through every part of a data set; with `decode`, read every picture too."""
    source = _source(kind)
    listing, findings = Listing(folder), Findings(f"{kind} in {folder}")
    pictures: dict[str, tuple[Images, int]] = {}
    for part in source.PARTS:
        found = Findings(part)
        try:
            split = source.read(listing, part, found)
        except ModelError as error:
            found.fault(f"part of {kind} that cannot be read", [f"{part} ({error})"])
            split = None
        findings.counts |= found.counts
        for why, names in found.faults.items():
            findings.fault(why, names)
        for why, names in found.notes.items():
            findings.note(why, names)
        if split is not None and decode:
            for side in (split.query, split.aerial):
                pictures |= {side.name(i): (side, i) for i in range(len(side))}
    findings.fault("pictures that cannot be read", _unreadable(list(pictures.values())))
    return findings


def _source(kind: str) -> Any:
    if kind not in SETS:
        raise ModelError(f"unknown data set {kind!r}; known are {', '.join(SETS)}")
    return SETS[kind]


def _unreadable(pictures: list[tuple[Images, int]]) -> list[str]:
    """Decode pictures in threads; return the names of those that fail."""
    rng = np.random.default_rng(0)

    def trouble(picture: tuple[Images, int]) -> str:
        try:
            picture[0].read(picture[1], rng)
        except ImageError:
            return picture[0].name(picture[1])
        return ""

    if not pictures:
        return []
    with ThreadPoolExecutor() as pool:
        return [name for name in track(pool.map(trouble, pictures), "decode", len(pictures), unit="picture") if name]
