"""Runs that break, are interrupted or find something in their folder: nothing is lost, and what happened is said."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from pilotage.errors import ModelError
from pilotage_trainer import checkpoint, feeds, train
from pilotage_trainer.data.feed import Batch
from pilotage_trainer.data.kinds import Where
from pilotage_trainer.ranks import Ranks


def losses(out):
    with (out / "log.csv").open(newline="") as stream:
        return [(row["step"], row["loss"]) for row in csv.DictReader(stream)]


def opened(of, config):
    config.out.mkdir(parents=True, exist_ok=True)
    return train.Trainer(of, feeds.open_feed(of, Where(None, config.cache), Ranks()), config)


def kept(out):
    with np.load(out / "nan-batch.npz") as file:
        return Batch(torch.from_numpy(file["query"]), torch.from_numpy(file["aerial"]), file["samples"], None)


@pytest.mark.parametrize("change", ["train.asam_rho=0", "train.asam_rho=0.5"])
def test_the_kept_batch_breaks_the_kept_run_again(tiny, run_config, change):
    """Not only the batch is kept: without the weights of the moment it proves nothing."""
    of, config = tiny(change, "cross_batch.name=docb", "cross_batch.batches=2"), run_config()
    trainer = opened(of, config)
    trainer.epoch = 1
    batches = trainer.feed.epoch(1, trainer.embed)
    for i in range(2):
        trainer.step(batches[i], 1.0)
    with torch.no_grad():
        trainer.model.query.reduce.weight[0, 0] = torch.inf
    with pytest.raises(ModelError, match=r"loss is nan at step 2: the batch is in .*nan-batch\.npz"):
        trainer.step(batches[2], 1.0)
    again = opened(of, dataclasses.replace(config, out=config.out / "again"))
    (config.out / "nan-batch.state").rename(again.path)
    assert again.resume() and again.steps == 2
    with pytest.raises(ModelError, match="loss is nan at step 2"):
        again.step(kept(config.out), 1.0)
    assert np.array_equal(kept(config.out).query, batches[2].query)


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(tiny, run_config):
    trainer = opened(tiny(), run_config())
    batch = trainer.feed.epoch(0, trainer.embed)[0]
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.model.query.reduce.weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(ModelError, match="the gradient's norm is nan at step 0"):
        trainer.step(batch, 0.0)
    assert all(torch.equal(value, before[key]) for key, value in trainer.model.state_dict().items())
    assert (run_config().out / "nan-batch.npz").is_file()


def test_the_weights_stand_where_they_stood_when_the_second_pass_breaks(tiny, run_config, monkeypatch):
    trainer = opened(tiny("train.asam_rho=0.5"), run_config())
    batch = trainer.feed.epoch(0, trainer.embed)[0]
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    real, calls = trainer.loss.forward, []

    def second_is_nan(*arguments):
        calls.append(0)
        return real(*arguments) * (torch.nan if len(calls) == 2 else 1)

    monkeypatch.setattr(trainer.loss, "forward", second_is_nan)
    with pytest.raises(ModelError, match="loss is nan"):
        trainer.step(batch, 0.0)
    kept_state = checkpoint.load(run_config().out / "nan-batch.state")["model"]
    assert all(torch.equal(value, before[key]) for key, value in kept_state.items())


RUN = """
import sys
from pathlib import Path
from pilotage_trainer import train
from pilotage_trainer.recipe import Recipe
import json
of = Recipe.from_dict(json.loads(sys.argv[3]))
train.run(of, train.RunConfig(out=Path(sys.argv[1]), cache=Path(sys.argv[2]), threads=1, device="cpu", workers=2))
"""


@pytest.mark.slow
def test_ctrl_c_at_a_terminal_spares_the_workers_and_saves(tiny, run_config, tmp_path, world_cache):
    """A terminal sends Ctrl-C to every process of the group."""
    import json

    of = tiny("train.epochs=40", "train.validate_epochs=40", "augment.light=0.5")
    command = [sys.executable, "-c", RUN, str(tmp_path / "cut"), str(world_cache), json.dumps(of.to_dict())]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    log, until = tmp_path / "cut" / "tensorboard", time.monotonic() + 60
    while time.monotonic() < until and not log.is_dir():
        time.sleep(0.05)
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "run again to go on" in said and "Traceback" not in errors
    state = checkpoint.load(tmp_path / "cut" / "frgeo-world.pt")
    assert 0 < state["steps"] < 160 and len(losses(tmp_path / "cut")) == state["steps"]
    config = run_config(out=tmp_path / "cut", max_steps=state["steps"] + 2)
    train.run(of, config)
    train.run(of, run_config(out=tmp_path / "whole", max_steps=state["steps"] + 2))
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_a_run_killed_after_its_validation_validates_once(tiny, run_config, monkeypatch):
    """Cut between the validation of the first epoch and the next checkpoint."""
    of = tiny("train.validate_epochs=1")
    whole = train.run(of, run_config(out=run_config().out / "whole", save_s=0.0)).parent
    real = train.Trainer.step

    def killed(self, batch, progress):
        if self.steps == 4:
            raise KeyboardInterrupt
        return real(self, batch, progress)

    cut = run_config(out=run_config().out / "cut", save_s=0.0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Trainer, "step", killed)
        train.run(of, cut)
    assert (cut.out / "validation.jsonl").read_text().count("\n") == 1
    train.run(of, cut)
    assert (cut.out / "validation.jsonl").read_text() == (whole / "validation.jsonl").read_text()
    assert losses(cut.out) == losses(whole)


def test_a_run_stopped_early_and_asked_for_no_more_stays(tiny, run_config):
    config = run_config(max_steps=3)
    path = train.run(tiny(), config)
    train.run(tiny(), config)
    assert checkpoint.load(path)["steps"] == 3 and len(losses(config.out)) == 3


def test_a_run_finished_is_not_opened_again(tiny, run_config, capsys):
    path = train.run(tiny("train.epochs=1"), run_config())
    boards = sorted((path.parent / "tensorboard").iterdir())
    train.run(tiny("train.epochs=1"), run_config())
    assert sorted((path.parent / "tensorboard").iterdir()) == boards
    assert "is finished, at step 4" in capsys.readouterr().out


def test_a_folder_that_holds_another_run_is_refused_and_left_alone(tiny, run_config):
    path = train.run(tiny("train.epochs=1"), run_config())
    log = (path.parent / "log.csv").read_text()
    with pytest.raises(ModelError, match=r"holds another run \(frgeo-world\.pt\): choose another --out"):
        train.run(tiny("train.epochs=1", "name=mine"), run_config())
    assert (path.parent / "log.csv").read_text() == log


@pytest.mark.parametrize("damage", ["cut", "overwritten", "empty"])
def test_a_damaged_checkpoint_is_refused_by_name(tiny, run_config, damage):
    path = train.run(tiny("train.epochs=1"), run_config())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if damage == "overwritten":
        content[middle : middle + 4096] = b"\xaa" * 4096
    path.write_bytes({"cut": content[:middle], "empty": b""}.get(damage, content))
    with pytest.raises(ModelError, match=r"frgeo-world\.pt: not a checkpoint, or a damaged one"):
        train.run(tiny("train.epochs=1"), run_config())


def test_what_differs_between_two_recipes_is_said_key_by_key(tiny, run_config):
    train.run(tiny("train.epochs=1"), run_config())
    says = r"data\.options\.places: 40 then, 39 now; train\.lr: 0\.002 then, 0\.5 now\): choose"
    with pytest.raises(ModelError, match=says):
        train.run(tiny("train.epochs=1", "train.lr=0.5", "data.options.places=39"), run_config())


def test_held_out_pictures_that_cannot_be_read_are_named(tiny, run_config, in_memory, monkeypatch, capsys):
    held_out = in_memory(range(6), size=(32, 128), tile_size=(64, 64), broken=(2,))
    monkeypatch.setattr(train, "open_part", lambda *_, **__: held_out)
    path = train.run(tiny("train.epochs=1"), run_config())
    assert "could not be read: picture 2" in capsys.readouterr().out
    assert checkpoint.load(path)["unreadable"] == []  # nothing of the training set


def test_checkpointed_gradients_do_not_go_with_reloading_and_batch_norm(tiny, run_config):
    changes = ["cross_batch.name=docb", "train.checkpoint_gradients=true"]
    with pytest.raises(ModelError, match="with cross_batch and batch norm"):
        opened(tiny(*changes, "model.backbone=resnet10t"), run_config())
    opened(tiny(*changes), run_config())


def test_a_part_of_an_epoch_is_a_run(tiny, run_config):
    path = train.run(tiny("train.epochs=1.5"), run_config())
    assert len(losses(path.parent)) == 6 and (path.parent / "validation.jsonl").read_text().count("\n") == 1


def test_both_passes_of_a_sharpness_aware_step_have_the_same_negatives(tiny, run_config, monkeypatch):
    changes = ["cross_batch.name=docb", "cross_batch.batches=3", "cross_batch.start_epoch=0", "train.asam_rho=0.5"]
    trainer = opened(tiny(*changes), run_config())
    batches = trainer.feed.epoch(0, trainer.embed)
    trainer.step(batches[0], 0.5)
    reloaded, real = [], trainer._describe_again

    def noted(samples, side):
        if torch.is_grad_enabled():
            reloaded.append((side, samples.tolist()))
        return real(samples, side)

    monkeypatch.setattr(trainer, "_describe_again", noted)
    trainer.step(batches[1], 0.5)
    assert len(reloaded) == 4 and reloaded[:2] == reloaded[2:]
    assert trainer.memory.mined == 20  # ten pairs, both directions, once
    assert not {s for _, samples in reloaded for s in samples} & set(batches[1].samples.tolist())
