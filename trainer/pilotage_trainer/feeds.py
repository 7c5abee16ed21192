"""Where a run's batches come from: a sampler over a split, or places drawn at any scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pilotage.errors import ModelError
from pilotage_trainer.checkpoint import sizes, views
from pilotage_trainer.data.batches import DrawnBatches
from pilotage_trainer.data.drawn import DrawnConfig, sources
from pilotage_trainer.data.feed import Batch, OneView, PairReader, PlannedBatches
from pilotage_trainer.data.kinds import Where, few_shot, open_part
from pilotage_trainer.data.split import Split
from pilotage_trainer.ranks import Ranks
from pilotage_trainer.recipe import Recipe, options_as
from pilotage_trainer.sampling import Ints, Sampler

Embed = Callable[[OneView, str], Tensor]  # pictures of "query" or "aerial" -> their descriptors, on the CPU


class Feed(Protocol):
    """The batches of every epoch."""

    split: Split | None  # what is sampled, where there is such a thing

    def epoch(self, epoch: int, embed: Embed) -> Dataset[Batch]:
        """Return an epoch's batches; `embed` describes with the network as it is, to mine neighbours."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must carry."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on with what a checkpoint carried."""


class SplitFeed:
    """Batches of a split, planned by a sampler."""

    def __init__(self, of: Recipe, split: Split, ranks: Ranks) -> None:
        self.split: Split | None = split
        self._split, self._ranks, self._seed = split, ranks, of.train.seed
        size = min(of.train.batch, len(np.unique(split.query_id)))
        if size % ranks.count:
            raise ModelError(f"a batch of {size} pairs does not split over {ranks.count} processes: change train.batch")
        query, aerial = views(of)
        self._views = query, aerial
        self.reader = PairReader(split, query, aerial, of.augment, ground=of.views.query == "ground")
        self.sampler = Sampler(
            of.sampler, split.query_id, batch=of.train.batch, seed=of.train.seed, xyz_m=split.query_xyz_m
        )
        self._mined_for = -1

    def epoch(self, epoch: int, embed: Embed) -> PlannedBatches:
        """Mine where the sampler wants it, and plan."""
        if self.sampler.wants_descriptors(epoch) and self._mined_for != epoch:
            split, (query, aerial) = self._split, self._views
            first = np.unique(split.query_id, return_index=True)[0]
            rows = np.array([self._aerial_row(s) for s in self._samples_of(first)])
            queries = embed(OneView(split.query, query), "query")
            self.sampler.refresh(queries, embed(OneView(split.aerial, aerial, rows), "aerial"), epoch)
            self._mined_for = epoch
        plan = self.sampler.plan(epoch)
        return PlannedBatches(
            self.reader, plan, seed=self._seed, epoch=epoch, rank=self._ranks.rank, ranks=self._ranks.count
        )

    def _samples_of(self, ids: Ints) -> list[int]:
        order = np.argsort(self._split.query_id, kind="stable")
        found: list[int] = order[np.searchsorted(self._split.query_id[order], ids)].tolist()
        return found

    def _aerial_row(self, sample: int) -> int:
        """Return the same reference of a sample whenever it is asked for, whoever is asked for with it."""
        return self.reader.aerial_row(sample, np.random.default_rng(0))

    def pictures(self, samples: Ints, side: int) -> Tensor:
        """Return pictures of some samples again, as a test sees them: (B, H, W, 3) uint8."""
        split, view = self._split, self._views[side]
        rows = samples if side == 0 else np.array([self._aerial_row(int(s)) for s in samples])
        pictures = OneView(split.query if side == 0 else split.aerial, view, rows)
        return torch.from_numpy(np.stack([pictures[i][0] for i in range(len(pictures))]))

    def state(self) -> dict[str, Any]:
        """Return the neighbours last mined."""
        mined = self.sampler.mined
        return {"mined": None if mined is None else torch.from_numpy(mined), "mined_for": self._mined_for}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on with a checkpoint's neighbours."""
        self.sampler.mined = None if state["mined"] is None else state["mined"].numpy()
        self._mined_for = int(state["mined_for"])


class DrawnFeed:
    """Batches of places drawn anew, with nothing to remember."""

    def __init__(self, of: Recipe, where: Where, ranks: Ranks) -> None:
        self.split: Split | None = None
        if of.train.batch % ranks.count:
            raise ModelError(
                f"a batch of {of.train.batch} pairs does not split over {ranks.count} processes: change train.batch"
            )
        self._ranks = ranks
        config = options_as(DrawnConfig, of.data.options, "data.options")
        self._count, self._seed = config.steps_per_epoch, of.train.seed
        self._draw = config.draw(pairs=of.train.batch, side_px=sizes(of)[0][0])
        self._sources, self._weights = sources(config, orthophotos=where.data, cache=where.cache)

    def epoch(self, epoch: int, embed: Embed) -> DrawnBatches:
        """Draw."""
        return DrawnBatches(
            self._sources,
            self._weights,
            config=self._draw,
            count=self._count,
            seed=self._seed,
            epoch=epoch,
            rank=self._ranks.rank,
            ranks=self._ranks.count,
        )

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Have nothing to go on with."""


def open_feed(of: Recipe, where: Where, ranks: Ranks) -> SplitFeed | DrawnFeed:
    """Return the feed that a recipe's data section asks for."""
    if of.data.kind == "drawn":
        return DrawnFeed(of, where, ranks)
    split = open_part(of, of.data.train, where=where, sizes=views(of))
    return SplitFeed(of, few_shot(split, of.data.share, of.train.seed), ranks)
