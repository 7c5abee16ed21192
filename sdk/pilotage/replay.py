"""Open a pack as the vehicle does, and run frames through the code that flies."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pilotage.engine import open_engine
from pilotage.localise import Localiser, LocaliserConfig
from pilotage.pack import RegionPack
from pilotage.values import Fix, Frame, Truth


@dataclass(frozen=True, slots=True)
class Step:
    """One frame's outcome. The latency is measured, so it is the one thing a replay does not repeat."""

    fix: Fix
    truth: Truth | None
    latency_s: float


@contextmanager
def localiser(pack: Path, *, config: LocaliserConfig | None = None, threads: int = 1) -> Iterator[Localiser]:
    """Open the pack, its own encoder, and prove that they belong together before any frame."""
    with RegionPack.open(pack) as region, open_engine(region.query_model(), threads=threads) as engine:
        region.self_test(engine)
        yield Localiser(region, engine, config)


def run(onboard: Localiser, frames: Iterable[tuple[Frame, Truth | None]]) -> Iterator[Step]:
    """Give every frame to the localiser."""
    for frame, truth in frames:
        start = time.perf_counter()
        fix = onboard.update(frame)
        yield Step(fix, truth, time.perf_counter() - start)
