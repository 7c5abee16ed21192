"""The loop: draw, describe, compare, step. Ends when its minutes are spent; resumes where it was cut."""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pilotage.errors import ModelError
from pilotage.progress import track
from pilotage.world.generate import WorldConfig
from pilotage_trainer import checkpoint
from pilotage_trainer.data.batches import Pairs, Source
from pilotage_trainer.data.orthophotos import OrthophotoSource
from pilotage_trainer.data.worlds import WorldSource, cached_world
from pilotage_trainer.evaluate import Protocol, describer, normalise, recall
from pilotage_trainer.losses import InfoNce
from pilotage_trainer.models import FrGeo
from pilotage_trainer.recipes import Recipe


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Where a run reads and writes and how long it may take."""

    out: Path
    cache: Path
    minutes: float = 70.0
    orthophotos: Path | None = None
    orthophoto_gsd_m: float = 0.2
    threads: int = 2
    workers: int = 1
    save_every_s: float = 180.0
    validate_every_s: float = 420.0
    max_steps: int = 0  # 0: only the minutes count


def sources(recipe: Recipe, config: RunConfig) -> tuple[list[Source], list[float]]:
    """Return the places to learn from, with how often each is drawn."""
    world = WorldConfig(size_m=recipe.world_size_m)
    config.cache.mkdir(parents=True, exist_ok=True)
    found: list[Source] = [
        WorldSource(cached_world(seed, config.cache, world))
        for seed in track(recipe.world_seeds, "worlds", len(recipe.world_seeds), unit="world")
    ]
    weights = [1.0 / len(found)] * len(found)
    if config.orthophotos is not None:
        if not config.orthophotos.is_dir():
            raise ModelError(f"{config.orthophotos}: no such folder of orthophotos")
        files = sorted(p for p in config.orthophotos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif"))
        files = [p for p in files if p.stem not in recipe.held_out_orthophotos]
        if not files:
            raise ModelError(f"{config.orthophotos}: no pictures to learn from")
        weights = [w * (1 - recipe.orthophoto_share) for w in weights]
        weights += [recipe.orthophoto_share / len(files)] * len(files)
        found += [OrthophotoSource(p, gsd_m=config.orthophoto_gsd_m) for p in files]
    return found, weights


class Trainer:
    """One run: network, its average, optimiser, and how far it is."""

    def __init__(self, recipe: Recipe, config: RunConfig) -> None:
        torch.set_num_threads(config.threads)
        torch.manual_seed(recipe.seed)
        self.recipe, self.config = recipe, config
        self.model: FrGeo = checkpoint.build(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema: FrGeo = copy.deepcopy(self.model).eval()
        self.loss = InfoNce(smoothing=recipe.smoothing)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1] + list(self.loss.parameters())
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.lr,
        )
        self.steps = 0
        self.spent_s = 0.0

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.config.out / f"{self.recipe.name}.pt"

    @property
    def over(self) -> bool:
        """Whether its minutes, or its steps, are spent."""
        return self.spent_s >= self.config.minutes * 60 or 0 < self.config.max_steps <= self.steps

    def _set_rate(self) -> None:
        share = self.spent_s / (self.config.minutes * 60)
        if self.config.max_steps:
            share = max(share, self.steps / self.config.max_steps)
        ramp = min(1.0, (share + 1e-3) / self.recipe.warm_up)
        lr = self.recipe.lr * ramp * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        for group in self.optimiser.param_groups:
            group["lr"] = max(lr, self.recipe.lr * 1e-3)

    def step(self, query: Tensor, aerial: Tensor, ignore: Tensor) -> float:
        """Learn from one batch."""
        self._set_rate()
        images = normalise(torch.cat([query, aerial]), self.recipe).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            descriptors = self.model(images)
        loss = self.loss(descriptors[: len(query)].float(), descriptors[len(query) :].float(), ignore)
        if not torch.isfinite(loss):
            bad = self.config.out / "nan-batch.npz"
            np.savez_compressed(bad, query=query.numpy(), aerial=aerial.numpy(), ignore=ignore.numpy())
            raise ModelError(
                f"loss is {loss.item()} at step {self.steps}: the batch is in {bad}; lower the learning rate"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        self.optimiser.step()
        self.steps += 1
        self._average()
        return float(loss.detach())

    def _average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for average, value in zip(self.ema.state_dict().values(), self.model.state_dict().values(), strict=True):
                if average.is_floating_point():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(value)

    def save(self) -> None:
        """Write everything that a later run needs to go on."""
        checkpoint.save(
            self.path,
            {
                "recipe": self.recipe.name,
                "model": self.model.state_dict(),
                "ema": self.ema.state_dict(),
                "loss": self.loss.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "steps": self.steps,
                "spent_s": self.spent_s,
            },
        )

    def resume(self) -> bool:
        """Go on from the checkpoint in the out folder, if there is one."""
        if not self.path.is_file():
            return False
        state = checkpoint.load(self.path)
        if state["recipe"] != self.recipe.name:
            raise ModelError(
                f"{self.path}: is of recipe {state['recipe']!r}, not {self.recipe.name!r}: choose another --out"
            )
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.loss.load_state_dict(state["loss"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps, self.spent_s = int(state["steps"]), float(state["spent_s"])
        return True


class Ledger:
    """log.jsonl for machines, and the same for whoever watches."""

    def __init__(self, trainer: Trainer, stream: TextIO) -> None:
        self._trainer, self._stream = trainer, stream
        self._losses: list[float] = []

    def _note(self, **values: Any) -> None:
        trainer = self._trainer
        line = {"step": trainer.steps, "minutes": round(trainer.spent_s / 60, 2), **values}
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()

    def step(self, loss: float, pairs: int) -> None:
        """Note a step; every 50th is written."""
        self._losses = [*self._losses[-49:], loss]
        trainer = self._trainer
        if trainer.steps % 50:
            return
        line = {"loss": round(float(np.mean(self._losses)), 4), "scale": round(float(trainer.loss.scale.detach()), 2)}
        rate = trainer.steps * pairs / max(trainer.spent_s, 1e-3)
        lr = trainer.optimiser.param_groups[0]["lr"]
        self._note(**line, lr=lr, pairs_per_s=round(rate, 1), seconds=round(trainer.spent_s, 1))
        left_min = trainer.config.minutes - trainer.spent_s / 60
        print(f"step {trainer.steps} {line} {rate:.0f} pairs/s, {left_min:.0f} min left", flush=True)

    def validation(self, result: dict[str, float]) -> None:
        """Note how well held-out ground is found."""
        self._note(validation=result)
        print(f"step {self._trainer.steps} validation {result}", flush=True)


def run(recipe: Recipe, config: RunConfig) -> Path:
    """Train, and return the checkpoint. A run whose minutes are spent is left as it is."""
    cv2.setNumThreads(0)  # before the first OpenCV call: its thread pool does not survive the fork of a worker
    config.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(recipe, config)
    if trainer.resume():
        print(f"resuming {trainer.path} at step {trainer.steps}", flush=True)
    if not trainer.over:
        found, weights = sources(recipe, config)
        pairs = Pairs(found, weights, config=recipe.batch, seed=recipe.seed + trainer.steps)
        loader = DataLoader(
            pairs, batch_size=None, num_workers=config.workers, prefetch_factor=3 if config.workers else None
        )
        with (config.out / "log.jsonl").open("a", encoding="utf-8") as stream:
            _learn(trainer, loader, Ledger(trainer, stream))
    return trainer.path


def _learn(trainer: Trainer, loader: DataLoader[tuple[Tensor, Tensor, Tensor]], ledger: Ledger) -> None:
    recipe, config = trainer.recipe, trainer.config
    world = cached_world(recipe.validation_seeds[0], config.cache, WorldConfig(size_m=recipe.world_size_m))
    held_out = WorldSource(world)
    last = saved = validated = time.monotonic()
    for query, aerial, ignore in loader:
        loss = trainer.step(query, aerial, ignore)
        now = time.monotonic()
        trainer.spent_s, last = trainer.spent_s + now - last, now
        ledger.step(loss, len(query))
        if trainer.over or now - saved > config.save_every_s:
            trainer.save()
            saved = time.monotonic()
        if trainer.over or now - validated > config.validate_every_s:
            ledger.validation(recall(describer(trainer.ema, recipe), held_out, Protocol(queries=150)))
            last = validated = time.monotonic()  # validation is not training time
        if trainer.over:
            return
