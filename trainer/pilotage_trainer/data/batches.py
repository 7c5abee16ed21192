"""Batches drawn from places at any scale: each from few places, so that its negatives are neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pilotage.errors import ModelError
from pilotage.values import Rgb
from pilotage_trainer.data.augment import footprint_mask, mask_out, photometric, turn_both
from pilotage_trainer.data.feed import Batch


class Source(Protocol):
    """A place that gives two views of any point of it."""

    extent_m: float

    def view_map(self, north_m: float, east_m: float, *, ground_m: float, side_px: int) -> Rgb:
        """Return the map tile."""

    def view_camera(
        self,
        north_m: float,
        east_m: float,
        *,
        ground_m: float,
        side_px: int,
        rng: np.random.Generator,
        error: float,
        offset: float,
    ) -> Rgb:
        """Return the rectified camera view, up to `offset` of the tile away; `error` scales the other errors."""


@dataclass(frozen=True, slots=True)
class DrawConfig:
    """How a batch is drawn."""

    pairs: int = 64
    places: int = 4  # sources in a batch; the rest of the negatives are neighbours
    side_px: int = 128
    ground_m: tuple[float, float] = (40.0, 160.0)
    offset: float = 0.15  # of the tile: how far the camera may stand from the middle of its tile
    apart: float = 0.6  # of the tile: closer pairs are neither positive nor negative

    def __post_init__(self) -> None:
        if self.places < 1 or self.pairs < 2 or self.pairs % self.places:
            raise ModelError(
                f"{self.pairs} pairs of {self.places} places: give a number of pairs that they share evenly"
            )


class DrawnBatches(Dataset[Batch]):
    """The batches of one epoch; a batch is a function of the seed, the epoch and its number."""

    def __init__(
        self,
        sources: Sequence[Source],
        weights: Sequence[float],
        *,
        config: DrawConfig,
        count: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._sources = list(sources)
        self._weights = np.asarray(weights, np.float64) / np.sum(weights)
        self._config, self._count = config, count
        self._seed, self._epoch, self._rank, self._ranks = seed, epoch, rank, ranks

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Batch:
        """Draw a batch; with several ranks, each keeps its own rows of it."""
        cv2.setNumThreads(1)
        query, aerial, ignore = self.draw(np.random.default_rng([self._seed, self._epoch, index]))
        samples = index * len(query) + np.arange(len(query))
        share = len(query) // self._ranks
        own = slice(self._rank * share, (self._rank + 1) * share)
        return Batch(torch.from_numpy(query[own]), torch.from_numpy(aerial[own]), samples, torch.from_numpy(ignore))

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
        """Draw one batch."""
        config = self._config
        queries, aerials, where = [], [], []
        chosen = rng.choice(len(self._sources), config.places, p=self._weights)
        low, high = config.ground_m
        for turn, index in enumerate(chosen):
            source = self._sources[index]
            ground_m = float(np.exp(rng.uniform(np.log(low), np.log(min(high, source.extent_m * 0.45)))))
            reach = source.extent_m / 2 - 0.62 * ground_m
            spread = min(reach, ground_m * 4.5)  # a neighbourhood, not the whole source
            middle = rng.uniform(-(reach - spread), reach - spread + 1e-6, 2)
            for _ in range(config.pairs // config.places):
                north, east = middle + rng.uniform(-spread, spread, 2)
                query, aerial = self._pair(source, north, east, ground_m, rng)
                queries.append(query)
                aerials.append(aerial)
                where.append((turn, index, north, east, ground_m))
        return np.stack(queries), np.stack(aerials), _too_close(np.array(where), config.apart)

    def _pair(
        self, source: Source, north: float, east: float, ground_m: float, rng: np.random.Generator
    ) -> tuple[Rgb, Rgb]:
        side = self._config.side_px
        query = source.view_camera(
            north, east, ground_m=ground_m, side_px=side, rng=rng, error=1.0, offset=self._config.offset
        )
        aerial = source.view_map(north, east, ground_m=ground_m, side_px=side)
        query, aerial = turn_both(query, aerial, int(rng.integers(4)), bool(rng.integers(2)))
        query, aerial = photometric(query, rng, strength=0.85), photometric(aerial, rng, strength=0.6)
        if rng.random() < 0.75:
            query = mask_out(query, footprint_mask(side, rng))
        return query, aerial


def _too_close(where: NDArray[np.float64], apart: float) -> NDArray[np.bool_]:
    """Return (B, B): different pairs that show much of the same ground."""
    distance = np.hypot(where[:, None, 2] - where[None, :, 2], where[:, None, 3] - where[None, :, 3])
    reach = apart * np.maximum(where[:, None, 4], where[None, :, 4])
    close = (where[:, None, 1] == where[None, :, 1]) & (distance < reach)
    np.fill_diagonal(close, False)
    return np.asarray(close)
