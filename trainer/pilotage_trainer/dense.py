"""Recall on ground never trained on: how often the best of all tiles lies where the camera was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pilotage_trainer.data.augment import footprint_mask, mask_out, photometric
from pilotage_trainer.data.batches import Source
from pilotage_trainer.describe import Normalise
from pilotage_trainer.recipe import Recipe

Describe = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def describer(model: nn.Module, recipe: Recipe, *, batch: int = 64) -> Describe:
    """Return a function from uint8 images to descriptors."""
    normalise = Normalise(recipe, torch.device("cpu"))

    def describe(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            rows = [
                model(normalise(torch.from_numpy(images[i : i + batch]))).numpy() for i in range(0, len(images), batch)
            ]
        return np.concatenate(rows)

    return describe


@dataclass(frozen=True, slots=True)
class Protocol:
    """A dense gallery over one source and random camera views of it."""

    ground_m: float = 100.0
    pitch_m: float = 20.0
    queries: int = 200
    side_px: int = 128
    within_m: float = 15.0
    seed: int = 7


def recall(describe: Describe, source: Source, protocol: Protocol) -> dict[str, float]:
    """Return recall@1 and @5 within 15 m, recall@1 within half a tile, and the size of the gallery.

    Cameras stand anywhere between the tiles, and their truth is where they really stand: the nearest tile of a 20 m
    grid is at most 14.2 m away, so that a perfect encoder reaches 1.
    """
    rng = np.random.default_rng(protocol.seed)
    reach = source.extent_m / 2 - 0.6 * protocol.ground_m
    grid = np.arange(-reach, reach + 1e-6, protocol.pitch_m)
    centres = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    size: dict[str, Any] = {"ground_m": protocol.ground_m, "side_px": protocol.side_px}
    gallery = describe(np.stack([source.view_map(n, e, **size) for n, e in centres]))
    truth = rng.uniform(-reach, reach, (protocol.queries, 2))
    views = []
    for n, e in truth:
        view = source.view_camera(n, e, rng=rng, error=0.5, offset=0.0, **size)
        view = photometric(view, rng, strength=0.5)
        views.append(mask_out(view, footprint_mask(protocol.side_px, rng)))
    order = np.argsort(-(describe(np.stack(views)) @ gallery.T), axis=1)[:, :5]
    miss_m = np.linalg.norm(centres[order] - truth[:, None], axis=2)
    return {
        "recall_at_1_15m": float(np.mean(miss_m[:, 0] <= protocol.within_m)),
        "recall_at_5_15m": float(np.mean(miss_m.min(axis=1) <= protocol.within_m)),
        "recall_at_1_half_tile": float(np.mean(miss_m[:, 0] <= protocol.ground_m / 2)),
        "gallery": float(len(centres)),
    }
