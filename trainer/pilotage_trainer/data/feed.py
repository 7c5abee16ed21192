"""Batches as the network takes them: read, augmented and cut to size by workers; a pure function of the step."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pilotage.errors import ImageError, ModelError
from pilotage.values import Rgb
from pilotage_trainer.data.augment import erased, photometric, turn_pair
from pilotage_trainer.data.split import Images, Split
from pilotage_trainer.data.views import View, prepare
from pilotage_trainer.sampling import Ints

_TRIES = 20  # replacements for one unreadable pair before the data set is called broken


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """What changes from one epoch to the next; all off by default. Chances are of a pair, or of a picture."""

    light: float = 0.0  # strength of changes in light, colour, sharpness and noise
    erase: float = 0.0  # chance that parts of a picture are blacked out
    flip: float = 0.0  # chance that both views are mirrored east to west
    turn: float = 0.0  # chance that both views are turned by one to three quarters
    shift: float = 0.0  # chance that a panorama and a polar strip are rolled alike

    def __post_init__(self) -> None:
        for name in ("light", "erase", "flip", "turn", "shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise ModelError(f"augment.{name} is {getattr(self, name)}: give 0 to 1")


@dataclass(frozen=True, slots=True)
class Batch:
    """B pairs: (B, H, W, 3) uint8 each, the samples they are, and which pairs show the same ground."""

    query: Tensor
    aerial: Tensor
    samples: Ints  # (B,) of the whole batch, also where the pictures are one rank's share of it
    ignore: Tensor | None  # (B, B) bool
    unreadable: tuple[str, ...] = ()


class PairReader:
    """Reads pairs of a split in the views of a recipe."""

    def __init__(self, split: Split, query: View, aerial: View, augment: AugmentConfig, *, ground: bool) -> None:
        if augment.shift and not (ground and aerial.polar and query.fov_deg == 360):
            raise ModelError("augment.shift rolls a whole panorama and a polar strip: it needs views.aerial_polar=true")
        self.split, self.query_view, self.aerial_view = split, query, aerial
        self.augment, self.ground = augment, ground
        self._order = np.argsort(split.aerial_id, kind="stable")
        self._sorted_ids = split.aerial_id[self._order]

    def aerial_row(self, sample: int, rng: np.random.Generator) -> int:
        """Return a reference of the sample's id; one of them by chance where there are several."""
        low, high = np.searchsorted(self._sorted_ids, [self.split.query_id[sample], self.split.query_id[sample] + 1])
        return int(self._order[low if high - low == 1 else rng.integers(low, high)])

    def pair(self, sample: int, rng: np.random.Generator) -> tuple[Rgb, Rgb]:
        """Return both views of a sample, augmented, or raise ImageError."""
        augment = self.augment
        query = self.split.query.read(sample, rng)
        aerial = self.split.aerial.read(self.aerial_row(sample, rng), rng)
        if augment.turn and rng.random() < augment.turn:
            query, aerial = turn_pair(query, aerial, int(rng.integers(1, 4)), ground=self.ground)
        if augment.flip and rng.random() < augment.flip:
            query, aerial = np.ascontiguousarray(query[:, ::-1]), np.ascontiguousarray(aerial[:, ::-1])
        query, aerial = prepare(query, self.query_view, rng), prepare(aerial, self.aerial_view, rng)
        if augment.shift and rng.random() < augment.shift:
            share = rng.random()
            query, aerial = (np.roll(v, round(share * v.shape[1]), axis=1) for v in (query, aerial))
        return self._spoil(query, rng, 1.0), self._spoil(aerial, rng, 0.6)

    def _spoil(self, image: Rgb, rng: np.random.Generator, share: float) -> Rgb:
        if self.augment.light:
            image = photometric(image, rng, strength=share * self.augment.light)
        if self.augment.erase and rng.random() < self.augment.erase:
            image = erased(image, rng)
        return image


class PlannedBatches(Dataset[Batch]):
    """The batches of one epoch; with several ranks, each reads its own rows of every batch."""

    def __init__(
        self, reader: PairReader, plan: list[Ints], *, seed: int, epoch: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self._reader, self._plan = reader, plan
        self._seed, self._epoch, self._rank, self._ranks = seed, epoch, rank, ranks

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> Batch:
        """Read a batch; an unreadable pair is replaced by one of an id that the batch does not hold."""
        cv2.setNumThreads(1)
        samples = self._plan[index].copy()
        share = len(samples) // self._ranks
        rows = range(self._rank * share, (self._rank + 1) * share)
        unreadable: list[str] = []
        pairs = []
        for row in rows:
            rng = np.random.default_rng([self._seed, self._epoch, int(samples[row])])
            pairs.append(self._readable(samples, row, rng, unreadable))
        query, aerial = (torch.from_numpy(np.stack(views)) for views in zip(*pairs, strict=True))
        samples = samples[: share * self._ranks]
        return Batch(query, aerial, samples, too_near(self._reader.split, samples), tuple(unreadable))

    def _readable(self, samples: Ints, row: int, rng: np.random.Generator, unreadable: list[str]) -> tuple[Rgb, Rgb]:
        split = self._reader.split
        for _ in range(_TRIES):
            try:
                return self._reader.pair(int(samples[row]), rng)
            except ImageError as error:
                unreadable.append(str(error))
            others = np.setdiff1d(split.query_id, split.query_id[samples])
            others = others[self._rank :: self._ranks]  # no two ranks take the same id
            spare = np.flatnonzero(np.isin(split.query_id, others))
            if not len(spare):
                break
            samples[row] = spare[rng.integers(len(spare))]
        raise ModelError(
            f"{split.name}: {len(unreadable)} unreadable pictures in one batch, the last: {unreadable[-1]}"
        )


def too_near(split: Split, samples: Ints) -> Tensor | None:
    """Return (B, B): other pairs that show much of the same ground; None where the split does not ask."""
    if split.apart_m <= 0 or split.query_xyz_m is None:
        return None
    places = split.query_xyz_m[samples]
    near = np.linalg.norm(places[:, None] - places[None], axis=2) < split.apart_m
    np.fill_diagonal(near, False)
    return torch.from_numpy(near)


class OneView(Dataset[tuple[NDArray[np.uint8], str]]):
    """Pictures of one side, as a test sees them: no augmentation, headings drawn from the number of the picture."""

    def __init__(self, images: Images, view: View, rows: Ints | None = None) -> None:
        self.images, self.view = images, view
        self.rows = np.arange(len(images)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], str]:
        """Return the picture, and why it is a grey one if it could not be read."""
        cv2.setNumThreads(1)
        row = int(self.rows[index])
        rng = np.random.default_rng([0xE7A1, row])
        try:
            return prepare(self.images.read(row, rng), self.view, rng), ""
        except ImageError as error:
            return np.full((self.view.height_px, self.view.width_px, 3), 128, np.uint8), str(error)
