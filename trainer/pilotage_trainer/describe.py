"""Describing many pictures with one branch of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pilotage.progress import Progress
from pilotage_trainer.checkpoint import statistics
from pilotage_trainer.data.feed import OneView
from pilotage_trainer.models import Encoder
from pilotage_trainer.recipe import Recipe


class Normalise:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float, as the exported graph does."""

    def __init__(self, of: Recipe, device: torch.device) -> None:
        mean, std = statistics(of)
        self._mean = 255 * torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(std, device=device).view(1, 3, 1, 1)
        self.device = device

    def __call__(self, images: Tensor) -> Tensor:
        """Move and normalise."""
        pixels = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        return ((pixels - self._mean) / self._std).contiguous(memory_format=torch.channels_last)


def embed(
    encoder: Encoder,
    pictures: OneView,
    normalise: Normalise,
    *,
    batch: int = 64,
    workers: int = 0,
    label: str = "",
    autocast: Callable[[], Any] | None = None,
) -> tuple[Tensor, list[str]]:
    """Return (N, D) float32 descriptors on the CPU and what could not be read. Training mode is put back as it was."""
    loader: Any = DataLoader(pictures, batch_size=batch, num_workers=workers)
    was = encoder.training
    encoder.eval()
    rows, unreadable = [], []
    with torch.inference_mode(), Progress(label or "describe", len(pictures), unit="picture") as bar:
        for images, troubles in loader:
            if autocast is None:
                found = encoder(normalise(images))
            else:
                with autocast():
                    found = encoder(normalise(images))
            rows.append(found.float().cpu())
            unreadable += [trouble for trouble in troubles if trouble]
            bar.add(len(images))
    encoder.train(was)
    return torch.cat(rows), unreadable
