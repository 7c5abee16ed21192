"""The loop: read, describe, compare, step. A run cut at any moment goes on where its checkpoint stands, bit for bit."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from pilotage_trainer import checkpoint, metrics
from pilotage_trainer.data.feed import Batch, OneView
from pilotage_trainer.data.kinds import Where, open_part
from pilotage_trainer.data.split import Split
from pilotage_trainer.feeds import open_feed
from pilotage_trainer.ledger import Ledger
from pilotage_trainer.ranks import Ranks
from pilotage_trainer.recipe import Recipe
from pilotage_trainer.trainer import RunConfig, Trainer, device_of

__all__ = ["RunConfig", "Trainer", "run"]


def run(of: Recipe, config: RunConfig) -> Path:
    """Train, and return the checkpoint. A finished run is left as it is."""
    cv2.setNumThreads(0)  # before the first OpenCV call: its thread pool does not survive the fork of a worker
    if config.threads:
        torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    ranks = Ranks.join(device_of(config))
    where = Where(config.data, config.cache)
    feed = open_feed(of, where, ranks)
    held_out = {part: open_part(of, part, where=where, sizes=checkpoint.views(of)) for part in of.data.validate}
    trainer = Trainer(of, feed, config, ranks)
    resumed = trainer.resume()
    if trainer.epoch >= of.train.epochs:
        print(f"{trainer.path} is finished, at step {trainer.steps}", flush=True)
        ranks.leave()
        return trainer.path
    if resumed and ranks.first:
        print(f"resuming {trainer.path} at step {trainer.steps}", flush=True)
    at = {"steps": trainer.steps, "epoch": trainer.epoch}
    with Ledger(config.out, **at, writes=ranks.first, quiet=config.quiet) as ledger, _Stop() as stop:
        _learn(trainer, held_out, ledger, stop)
    if ranks.first:
        _say(trainer)
    ranks.leave()
    return trainer.path


def _say(trainer: Trainer) -> None:
    """Say at the end what a log does not show."""
    for name in sorted(trainer.unreadable | trainer.grey):
        print(f"could not be read: {name}", flush=True)
    memory = trainer.memory
    if memory is not None and memory.mined:
        share = memory.harder / memory.mined
        print(f"{memory.mined} negatives from other batches, {share:.0%} harder than any of their own", flush=True)


def _learn(trainer: Trainer, held_out: dict[str, Split], ledger: Ledger, stop: _Stop) -> None:
    train, config = trainer.of.train, trainer.config
    while trainer.epoch < train.epochs and not 0 < config.max_steps <= trainer.steps:
        batches = trainer.feed.epoch(trainer.epoch, trainer.embed)
        count = min(len(batches), max(1, round((train.epochs - trainer.epoch) * len(batches))))
        loader = _loader(batches, range(trainer.batch_in_epoch, count), config)
        ledger.epoch(trainer.epoch, count, train.epochs)
        for batch in ledger.timed(loader):
            progress = trainer.epoch + trainer.batch_in_epoch / len(batches)
            loss, norm = trainer.step(batch, progress)
            trainer.batch_in_epoch += 1
            trainer.note_unreadable(batch)
            trainer.spent_s += ledger.step(trainer, loss, norm, len(batch.samples))
            over = any(trainer.ranks.collect(stop.asked)) or trainer.steps == config.max_steps
            if trainer.ranks.first and (over or ledger.since_saved_s > config.save_s):
                ledger.flush()
                trainer.save()
                ledger.saved()
            if over:
                if trainer.ranks.first:
                    print(f"stopped at step {trainer.steps}; run again to go on", flush=True)
                return
        trainer.epoch, trainer.batch_in_epoch = trainer.epoch + 1, 0
        last = trainer.epoch >= train.epochs
        if last or trainer.epoch % max(1, train.validate_epochs) == 0:
            validate(trainer, held_out, ledger)
        if last and trainer.ranks.first:
            ledger.flush()
            trainer.save()


def _loader(batches: Dataset[Batch], rows: range, config: RunConfig) -> DataLoader[Batch]:
    return DataLoader(
        batches,
        batch_size=None,
        sampler=rows,
        num_workers=config.workers,
        prefetch_factor=3 if config.workers else None,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_ctrl_c_alone,
    )


def _leave_ctrl_c_alone(_: int) -> None:
    """Let the trainer decide what Ctrl-C does: a terminal sends it to the workers too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch


def validate(trainer: Trainer, held_out: dict[str, Split], ledger: Ledger) -> None:
    """Measure what the run keeps on the parts held out."""
    weights = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    trainer.model.load_state_dict(trainer.weights())
    query, aerial = checkpoint.views(trainer.of)
    for part, split in held_out.items():
        queries = trainer.embed(OneView(split.query, query), "query")
        aerials = trainer.embed(OneView(split.aerial, aerial), "aerial")
        ledger.validation(trainer, part, metrics.evaluate(queries.numpy(), aerials.numpy(), split))
    trainer.model.load_state_dict(weights)


class _Stop:
    """Ctrl-C once ends the run after its step, with a checkpoint; twice ends it at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> _Stop:
        if threading.current_thread() is threading.main_thread():  # elsewhere, whoever runs us decides
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)
