"""One run's state and its step: network, loss, optimiser, memory; what a checkpoint carries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pilotage.errors import ModelError
from pilotage_trainer import checkpoint
from pilotage_trainer.crossbatch import CrossBatch
from pilotage_trainer.data.feed import Batch, OneView, too_near
from pilotage_trainer.describe import Normalise, embed
from pilotage_trainer.feeds import DrawnFeed, SplitFeed
from pilotage_trainer.losses import create_loss
from pilotage_trainer.optim import Asam, Average, adamw, rate
from pilotage_trainer.ranks import Ranks
from pilotage_trainer.recipe import Recipe

_UNREADABLE = 0.001  # of a data set's pictures: more, and the run stops
_BAD_BATCH = "nan-batch.npz"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Where a run reads and writes, and on what."""

    out: Path
    cache: Path
    data: Path | None = None
    device: str = ""  # "": CUDA where there is one
    threads: int = 0  # 0: torch's own choice
    workers: int = 0
    save_s: float = 180.0
    max_steps: int = 0  # stop early, as if cut: for rehearsals
    quiet: bool = False


class Trainer:
    """One run: network, loss, optimiser, memory, and how far it is."""

    def __init__(self, of: Recipe, feed: SplitFeed | DrawnFeed, config: RunConfig, ranks: Ranks | None = None) -> None:
        self.of, self.feed, self.config = of, feed, config
        self.device = device_of(config)
        self.ranks = Ranks() if ranks is None else ranks
        torch.manual_seed(of.train.seed)
        self.model = checkpoint.build(of, pretrained=of.model.pretrained).to(self.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if of.model.start_from:
            self._start_from(Path(of.model.start_from))
        if of.train.checkpoint_gradients:
            _checkpoint_gradients(self.model)
        self.loss = create_loss(of.loss.name, of.loss.options).to(self.device)
        self.optimiser = adamw(self.model, self.loss, of.train)
        self.learnt = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.asam = Asam(self.model.parameters(), rho=of.train.asam_rho) if of.train.asam_rho > 0 else None
        self.average = Average(self.model, of.train.ema) if of.train.ema > 0 else None
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=of.train.amp == "fp16" and self.device.type == "cuda"
        )
        self.normalise = Normalise(of, self.device)
        self.memory = self._memory()
        self.steps, self.epoch, self.batch_in_epoch = 0, 0, 0
        self.spent_s = 0.0
        self.unreadable: set[str] = set()  # of the training set
        self.grey: set[str] = set()  # of any set: grey pictures stood in for them when they were described
        if self.memory is not None and of.train.checkpoint_gradients and _batch_norms(self.model):
            raise ModelError(
                "train.checkpoint_gradients with cross_batch and batch norm: what is reloaded would change the running "
                "statistics; leave one of them off"
            )

    def _memory(self) -> CrossBatch | None:
        of, split = self.of, self.feed.split
        if of.cross_batch.name == "none":
            return None
        if split is None:
            raise ModelError(
                f"cross_batch {of.cross_batch.name!r} reloads pictures: it needs a data set, not drawn places"
            )
        return CrossBatch(
            of.cross_batch,
            split.query_id,
            batch=of.train.batch,
            descriptor=self.model.descriptor,
            xyz_m=split.query_xyz_m,
        )

    def _start_from(self, path: Path) -> None:
        state = checkpoint.load(path)
        checkpoint.fill(self.model, state["weights"], where=f"model.start_from: {path} is of another model")

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.config.out / f"{self.of.name}.pt"

    def autocast(self) -> Any:
        """Return the context of half precision, where the recipe asks for it."""
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        if self.of.train.amp == "off":
            return nullcontext()
        return torch.autocast(self.device.type, kinds[self.of.train.amp])

    def step(self, batch: Batch, progress: float) -> tuple[float, float]:
        """Learn from one batch, `progress` epochs into the run; return the loss and the norm of its gradient."""
        train = self.of.train
        lr = rate(train, progress)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.model.train()
        query, aerial = self.normalise(batch.query), self.normalise(batch.aerial)
        samples = np.concatenate(self.ranks.collect(_own_rows(batch, self.ranks)))
        loss = self._backward(query, aerial, samples, batch)
        if self.asam is not None:
            self.asam.climb()
            self._backward(query, aerial, samples, batch, again=True)
            self.asam.back()
        self.scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.learnt, train.clip_norm or torch.inf)
        if not torch.isfinite(norm) and not self.scaler.is_enabled():  # fp16 passes such a step over by itself
            self._keep(batch, f"the gradient's norm is {norm.item()}")
        if train.clip_value > 0:
            torch.nn.utils.clip_grad_value_(self.learnt, train.clip_value)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.steps += 1
        if self.average is not None:
            self.average.update(self.model, self.steps)
        return loss, float(norm)

    def _backward(self, query: Tensor, aerial: Tensor, samples: Any, batch: Batch, *, again: bool = False) -> float:
        """Put the gradient of the loss into the parameters."""
        torch.manual_seed(self.of.train.seed * 1_000_003 + self.steps)  # dropout is a function of the step
        with self.autocast():
            rows = self.model(query, aerial)
        queries, aerials = (self.ranks.gather(side.float()) for side in rows)
        ignore = batch.ignore
        if ignore is not None and self.ranks.count > 1 and self.feed.split is not None:
            ignore = too_near(self.feed.split, samples)  # other ranks may have replaced pairs of theirs
        ignore = None if ignore is None else ignore.to(self.device)
        loss = self.loss(queries, aerials, ignore)
        if self.memory is not None and self.epoch >= self.of.cross_batch.start_epoch:
            loss = loss + self.memory.term(samples, queries, aerials, self._describe_again, again=again)
        if not torch.isfinite(loss):
            self._keep(batch, f"loss is {loss.item()}")
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.ranks.average(self.learnt)
        return float(loss.detach())

    def _describe_again(self, samples: Any, side: int) -> Tensor:
        """Read pictures of the data set again and describe them as those of a batch are.

        Batch norm takes the statistics of these pictures, as it does for the anchors, and keeps its running ones. With
        the running ones here, the network learnt to tell the two apart instead of the places: on msfa-world 3 % of the
        reloaded negatives were harder than the batch's own, where now 81 % are.
        """
        assert isinstance(self.feed, SplitFeed)
        encoder = self.model.query if side == 0 else self.model.aerial
        with self.autocast(), _running_statistics_kept(encoder):
            found: Tensor = encoder(self.normalise(self.feed.pictures(samples, side)))
        return found.float()

    def _keep(self, batch: Batch, what: str) -> None:
        """Keep the batch that broke the run, with the run as it was before it, and stop."""
        if self.asam is not None:
            self.asam.back()
        bad = self.config.out / (_BAD_BATCH if self.ranks.first else f"rank{self.ranks.rank}-{_BAD_BATCH}")
        bad.parent.mkdir(parents=True, exist_ok=True)
        ignore = {} if batch.ignore is None else {"ignore": batch.ignore.numpy()}
        pictures = {"query": batch.query.numpy(), "aerial": batch.aerial.numpy(), "samples": batch.samples}
        np.savez_compressed(bad, step=self.steps, **pictures, **ignore)  # type: ignore[arg-type]
        if self.ranks.first:
            self.save(bad.with_suffix(".state"))
        raise ModelError(f"{what} at step {self.steps}: the batch is in {bad}; lower train.lr or set train.clip_norm")

    def embed(self, pictures: OneView, side: str) -> Tensor:
        """Describe pictures with the network as it is, each rank its share. Unreadable ones are grey, and noted."""
        mine = torch.arange(len(pictures))[self.ranks.rank :: self.ranks.count]
        encoder = self.model.query if side == "query" else self.model.aerial
        share = OneView(pictures.images, pictures.view, pictures.rows[mine.numpy()])
        found, unreadable = embed(
            encoder,
            share,
            self.normalise,
            workers=self.config.workers,
            label=f"{side} pictures",
            autocast=self.autocast,
        )
        out = torch.empty(len(pictures), found.shape[1])
        for rank, (part, names) in enumerate(self.ranks.collect((found, unreadable))):
            out[rank :: self.ranks.count] = part
            self.grey.update(names)
        return out

    def note_unreadable(self, batch: Batch) -> None:
        """Count what could not be read; stop when it is more than one in a thousand."""
        for names in self.ranks.collect(batch.unreadable):
            self.unreadable.update(names)
        split = self.feed.split
        if split is not None and len(self.unreadable) > _UNREADABLE * (len(split.query) + len(split.aerial)):
            some = "\n  ".join(sorted(self.unreadable)[:5])
            raise ModelError(
                f"{split.name}: {len(self.unreadable)} pictures cannot be read, more than {_UNREADABLE:.1%}: "
                f"mend the data set\n  {some}"
            )

    def weights(self) -> dict[str, Tensor]:
        """Return what is kept of the run: the average where there is one."""
        return self.average.state if self.average is not None else dict(self.model.state_dict())

    def save(self, path: Path | None = None) -> None:
        """Write everything that a later run needs to go on."""
        state: dict[str, Any] = {
            "recipe": self.of.to_dict(),
            "preprocessing": checkpoint.preprocessing(self.of),
            "weights": self.weights(),
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "feed": self.feed.state(),
            "memory": self.memory.state() if self.memory is not None else None,
            "steps": self.steps,
            "epoch": self.epoch,
            "batch_in_epoch": self.batch_in_epoch,
            "spent_s": self.spent_s,
            "unreadable": sorted(self.unreadable),
        }
        checkpoint.save(path or self.path, state)

    def resume(self) -> bool:
        """Go on from the checkpoint in the out folder, if there is one."""
        if not self.path.is_file():
            others = sorted(path.name for path in self.config.out.glob("*.pt"))
            if others and (self.config.out / "log.csv").is_file():
                raise ModelError(f"{self.config.out}: holds another run ({', '.join(others)}): choose another --out")
            return False
        state = checkpoint.load(self.path)
        was = Recipe.from_dict(state["recipe"])
        if was != self.of:
            raise ModelError(
                f"{self.path}: was trained with another recipe ({_differences(was, self.of)}): choose another --out"
            )
        checkpoint.fill(self.model, state["model"], where=f"{self.path}: not of this model")
        if self.average is not None:
            self.average.state = {k: v.to(self.device) for k, v in state["weights"].items()}
        self.loss.load_state_dict(state["loss"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.feed.load_state(state["feed"])
        if self.memory is not None:
            self.memory.load_state(state["memory"])
        self.steps, self.epoch, self.batch_in_epoch = state["steps"], state["epoch"], state["batch_in_epoch"]
        self.spent_s, self.unreadable = state["spent_s"], set(state["unreadable"])
        return True


def device_of(config: RunConfig) -> torch.device:
    """Return the device that was asked for, or the best there is."""
    if config.device:
        spread = config.device == "cuda" and "LOCAL_RANK" in os.environ
        return torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if spread else config.device)
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def _own_rows(batch: Batch, ranks: Ranks) -> Any:
    share = len(batch.samples) // ranks.count
    return batch.samples[ranks.rank * share : (ranks.rank + 1) * share]


def _checkpoint_gradients(model: torch.nn.Module) -> None:
    """Trade time for memory, in the backbones that know how."""
    able = [m for m in model.modules() if callable(getattr(m, "set_grad_checkpointing", None))]
    if not able:
        raise ModelError("train.checkpoint_gradients: this backbone does not know how; leave it off")
    for module in able:
        module.set_grad_checkpointing(True)  # type: ignore[operator]


def _differences(was: Recipe, now: Recipe) -> str:
    a, b = _flat(was.to_dict()), _flat(now.to_dict())
    keys = [k for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
    return "; ".join(f"{key}: {a.get(key)} then, {b.get(key)} now" for key in keys)


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return values by their whole keys: train.lr."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return out


def _batch_norms(model: torch.nn.Module) -> list[torch.nn.modules.batchnorm._BatchNorm]:
    return [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


@contextmanager
def _running_statistics_kept(model: torch.nn.Module) -> Iterator[None]:
    """Let batch norm normalise by the batch without remembering it."""
    norms = [m for m in _batch_norms(model) if m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
