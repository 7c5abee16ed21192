"""What the shipped nadir weights learn from: places drawn at any scale from synthetic worlds and real orthophotos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pilotage.errors import ModelError
from pilotage.progress import track
from pilotage.world.generate import WorldConfig
from pilotage_trainer.data.batches import DrawConfig, Source
from pilotage_trainer.data.orthophotos import OrthophotoSource
from pilotage_trainer.data.worlds import WorldSource, cached_world

_PICTURES = (".jpg", ".jpeg", ".png", ".tif")


@dataclass(frozen=True, slots=True)
class DrawnConfig:
    """The options of a recipe whose data are `drawn`."""

    train_seeds: tuple[int, ...] = ()
    val_seeds: tuple[int, ...] = ()
    world_size_m: float = 1000.0
    places: int = 4
    ground_m: tuple[float, float] = (40.0, 160.0)
    offset: float = 0.15
    apart: float = 0.6
    steps_per_epoch: int = 100
    orthophoto_share: float = 0.35  # of the places in a batch, when orthophotos are given
    orthophoto_gsd_m: float = 0.2
    held_out_orthophotos: tuple[str, ...] = ()

    def draw(self, *, pairs: int, side_px: int) -> DrawConfig:
        """Return how a batch is drawn."""
        return DrawConfig(pairs, self.places, side_px, self.ground_m, self.offset, self.apart)


def sources(config: DrawnConfig, *, orthophotos: Path | None, cache: Path) -> tuple[list[Source], list[float]]:
    """Return the places to learn from, with how often each is drawn."""
    world = WorldConfig(size_m=config.world_size_m)
    if not config.train_seeds:
        raise ModelError("data.options.train_seeds is missing: which worlds are drawn from?")
    cache.mkdir(parents=True, exist_ok=True)
    seeds = track(config.train_seeds, "worlds", len(config.train_seeds), unit="world")
    found: list[Source] = [WorldSource(cached_world(seed, cache, world)) for seed in seeds]
    weights = [1.0 / len(found)] * len(found)
    if orthophotos is None:
        return found, weights
    if not orthophotos.is_dir():
        raise ModelError(f"{orthophotos}: no such folder of orthophotos")
    files = sorted(p for p in orthophotos.iterdir() if p.suffix.lower() in _PICTURES)
    files = [p for p in files if p.stem not in config.held_out_orthophotos]
    if not files:
        raise ModelError(f"{orthophotos}: no pictures to learn from")
    weights = [w * (1 - config.orthophoto_share) for w in weights]
    weights += [config.orthophoto_share / len(files)] * len(files)
    return [*found, *(OrthophotoSource(p, gsd_m=config.orthophoto_gsd_m) for p in files)], weights
