"""The public data sets, found by folder and checked before anything is trained on them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pilotage.errors import ImageError, ModelError
from pilotage.progress import track
from pilotage_trainer.data.findings import Findings
from pilotage_trainer.data.public import cvact, cvusa, university, vigor
from pilotage_trainer.data.public.listing import Listing
from pilotage_trainer.data.split import Images, Split

_TAIL_BYTES = 4096  # the end marker may be followed by padding; it never occurs inside the coded picture

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
        for why, names in found.faults.items():  # parts share files: each is named once
            findings.fault(why, _not_in(findings.faults.get(why, []), names))
        for why, names in found.notes.items():
            findings.note(why, _not_in(findings.notes.get(why, []), names))
        if split is not None and decode:
            for side in (split.query, split.aerial):
                pictures |= {side.name(i): (side, i) for i in range(len(side))}
    for name, trouble in _troubles(list(pictures.values())):
        findings.fault(trouble, [name])
    return findings


def _not_in(known: list[str], names: list[str]) -> list[str]:
    before = set(known)
    return [name for name in dict.fromkeys(names) if name not in before]


def _source(kind: str) -> Any:
    if kind not in SETS:
        raise ModelError(f"unknown data set {kind!r}; known are {', '.join(SETS)}")
    return SETS[kind]


def _troubles(pictures: list[tuple[Images, int]]) -> list[tuple[str, str]]:
    """Decode pictures in threads; return the name and the trouble of those that have one."""
    rng = np.random.default_rng(0)

    def look(picture: tuple[Images, int]) -> tuple[str, str]:
        images, index = picture
        name = images.name(index)
        try:
            images.read(index, rng)
        except (ImageError, cv2.error):
            return name, "pictures that cannot be read"
        return name, "pictures cut short" if _cut_short(Path(name)) else ""

    if not pictures:
        return []
    with ThreadPoolExecutor() as pool:
        looked = track(pool.map(look, pictures), "decode", len(pictures), unit="picture")
        return [(name, trouble) for name, trouble in looked if trouble]


def _cut_short(path: Path) -> bool:
    """Whether a JPEG has no end: OpenCV decodes what there is of it and leaves the rest grey."""
    with path.open("rb") as stream:
        if stream.read(2) != b"\xff\xd8":
            return False
        stream.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        return b"\xff\xd9" not in stream.read()
