"""A run: it learns, it is killed and goes on bit for bit, it ends, it refuses, it counts what it cannot read."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pilotage.errors import ImageError, ModelError
from pilotage_trainer import checkpoint, feeds, train
from pilotage_trainer.data.kinds import Where, few_shot, open_part
from pilotage_trainer.ranks import Ranks

TINY = Path(__file__).with_name("conftest.py")
MINED = ("sampler.name=dss", "sampler.near=8", "sampler.pick=4", "sampler.refresh_epochs=1", "cross_batch.name=docb")
MINED += ("cross_batch.batches=3", "augment.light=0.5", "augment.turn=0.5", "train.epochs=3", "train.ema=0.9")


def rows(out):
    with (out / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def losses(out):
    return [(int(row["step"]), row["loss"], row["lr"]) for row in rows(out)]


def opened(of, config):
    return train.Trainer(of, feeds.open_feed(of, Where(None, config.cache), Ranks()), config)


def test_a_run_learns_and_leaves_a_checkpoint_that_describes(tiny, run_config):
    of = tiny("train.epochs=8", "train.lr=2e-3")
    path = train.run(of, run_config())
    first, last = (
        np.mean([float(r["loss"]) for r in part]) for part in (rows(path.parent)[:4], rows(path.parent)[-4:])
    )
    assert last < 0.9 * first
    model, back = checkpoint.trained(path)
    assert back == of and not model.training and model.descriptor == 512
    assert [p.name for p in path.parent.glob("*.part")] == []
    assert (path.parent / "validation.jsonl").read_text().count("\n") == 4 and (path.parent / "tensorboard").is_dir()


KILLED = """
import sys
from pathlib import Path
from pilotage_trainer import train
from pilotage_trainer.recipe import recipe
changes = sys.argv[4:]
train.run(recipe("frgeo-world", changes), train.RunConfig(
    out=Path(sys.argv[1]), cache=Path(sys.argv[2]), threads=1, device="cpu", workers=int(sys.argv[3]), save_s=0.0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_with_the_same_loss_curve(tiny, run_config, tmp_path, world_cache, workers):
    import importlib.util

    loaded = importlib.util.spec_from_file_location("tiny_recipe", TINY)
    changes = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(changes)
    of = tiny(*MINED)
    whole = train.run(of, run_config(out=tmp_path / "whole"))
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(tmp_path / "cut"),
        str(world_cache),
        str(workers),
        *changes.TINY,
        *MINED,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    cut = tmp_path / "cut" / "frgeo-world.pt"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (cut.is_file() and checkpoint.load(cut)["steps"] >= 6):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    stopped_at = checkpoint.load(cut)["steps"]
    assert 6 <= stopped_at < 12
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole") and len(losses(tmp_path / "whole")) == 12
    one, two = checkpoint.load(cut)["weights"], checkpoint.load(whole)["weights"]
    assert all(torch.equal(one[key], two[key]) for key in one)
    validations = [(tmp_path / name / "validation.jsonl").read_text() for name in ("cut", "whole")]
    assert validations[0] == validations[1]


def test_a_run_stopped_early_goes_on(tiny, run_config):
    whole = train.run(tiny(), run_config(out=run_config().out / "whole"))
    config = run_config(out=run_config().out / "cut", max_steps=3)
    train.run(tiny(), config)
    train.run(tiny(), dataclasses.replace(config, max_steps=0))
    assert losses(config.out) == losses(whole.parent)


def test_ctrl_c_saves_and_stops(tiny, run_config, monkeypatch):
    real = train.Trainer.step

    def interrupted(self, batch, progress):
        if self.steps == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, batch, progress)

    monkeypatch.setattr(train.Trainer, "step", interrupted)
    path = train.run(tiny(), run_config())
    assert checkpoint.load(path)["steps"] == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_finished_run_is_left_as_it_is(tiny, run_config):
    path = train.run(tiny(), run_config())
    before = {p: p.read_bytes() for p in path.parent.iterdir() if p.is_file()}
    assert train.run(tiny(), run_config()) == path
    assert {p: p.read_bytes() for p in path.parent.iterdir() if p.is_file()} == before


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tiny, run_config):
    weights = []
    for name, change in (("a", "train.seed=1"), ("b", "train.seed=1"), ("c", "train.seed=2")):
        path = train.run(tiny(change, "train.epochs=1"), run_config(out=run_config().out / name))
        weights.append(checkpoint.load(path)["weights"])
    key = "query.reduce.weight"
    assert torch.equal(weights[0][key], weights[1][key]) and not torch.equal(weights[0][key], weights[2][key])


def test_what_is_kept_is_the_average(tiny, run_config):
    path = train.run(tiny("train.ema=0.9"), run_config())
    state = checkpoint.load(path)
    assert not torch.equal(state["weights"]["query.reduce.weight"], state["model"]["query.reduce.weight"])
    plain = checkpoint.load(train.run(tiny(), run_config(out=run_config().out / "plain")))
    assert torch.equal(plain["weights"]["query.reduce.weight"], plain["model"]["query.reduce.weight"])


@pytest.mark.parametrize("change", ["train.amp=bf16", "train.amp=fp16", "train.asam_rho=0.5", "train.clip_value=0.01"])
def test_every_way_to_step_steps(tiny, run_config, change):
    path = train.run(tiny(change, "train.epochs=1"), run_config())
    assert all(np.isfinite(float(row["loss"])) for row in rows(path.parent)) and len(rows(path.parent)) == 4


def test_checkpointed_gradients_are_the_same(tiny, run_config):
    found = []
    for change in ("train.checkpoint_gradients=false", "train.checkpoint_gradients=true"):
        trainer = opened(tiny(change), run_config())
        batch = trainer.feed.epoch(0, trainer.embed)[0]
        trainer.step(batch, 0.0)
        found.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]))
    torch.testing.assert_close(*found)


def test_a_loss_that_is_not_finite_stops_with_its_batch(tiny, run_config, monkeypatch):
    config = run_config()
    trainer = opened(tiny(), config)
    batch = trainer.feed.epoch(0, trainer.embed)[0]
    with torch.no_grad():
        trainer.model.query.reduce.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"loss is nan at step 0: the batch is in .*nan-batch\.npz; lower train.lr"):
        trainer.step(batch, 0.0)
    kept = np.load(config.out / "nan-batch.npz")
    assert np.array_equal(kept["query"], batch.query) and np.array_equal(kept["samples"], batch.samples)


class Broken:
    """Pictures of which some cannot be read."""

    def __init__(self, images, broken):
        self._images, self._broken = images, broken

    def __len__(self):
        return len(self._images)

    def name(self, index):
        return self._images.name(index)

    def read(self, index, rng):
        if index in self._broken:
            raise ImageError(f"{self.name(index)}: not a picture that can be read")
        return self._images.read(index, rng)


def broken_open(monkeypatch, broken, copies=1):
    """Open the small world with some unreadable queries, every place `copies` times."""
    real = feeds.open_part

    def opened_broken(of, part, **where):
        split = real(of, part, **where)
        return dataclasses.replace(split, query=Broken(split.query, broken))

    monkeypatch.setattr(feeds, "open_part", opened_broken)


def test_a_few_unreadable_pictures_are_replaced_counted_and_named(tiny, run_config, monkeypatch, capsys):
    broken_open(monkeypatch, {7})
    monkeypatch.setattr("pilotage_trainer.trainer._UNREADABLE", 1 / 79)  # of 80 pictures
    path = train.run(tiny(), run_config())
    out = capsys.readouterr().out
    assert out.count("could not be read: ") == 1 and "#7: not a picture" in out
    assert len(rows(path.parent)) == 8 and len(checkpoint.load(path)["unreadable"]) == 1


def test_too_many_unreadable_pictures_stop_the_run(tiny, run_config, monkeypatch):
    broken_open(monkeypatch, {7, 8})
    with pytest.raises(ModelError, match=r"2 pictures cannot be read, more than 0\.1%|1 pictures cannot be read"):
        train.run(tiny(), run_config())


def test_an_unreadable_pair_is_replaced_by_another_id(tiny, run_config, monkeypatch):
    broken_open(monkeypatch, {3})
    trainer = opened(tiny(), run_config())
    batches = trainer.feed.epoch(0, trainer.embed)
    replaced = [batches[i] for i in range(len(batches)) if batches[i].unreadable]
    assert replaced
    for batch in replaced:
        assert 3 not in batch.samples and len(np.unique(batch.samples)) == len(batch.samples) == 10


def test_another_recipe_in_the_same_folder_is_refused(tiny, run_config):
    train.run(tiny("train.epochs=1"), run_config())
    with pytest.raises(ModelError, match=r"another recipe \(train\.lr: 0\.002 then, 1e-05 now\): choose another --out"):
        train.run(tiny("train.epochs=1", "train.lr=1e-5"), run_config())


def test_weights_of_another_model_are_refused(tiny, run_config):
    path = train.run(tiny("train.epochs=1"), run_config())
    with pytest.raises(ModelError, match="is of another model"):
        opened(tiny(f"model.start_from={path}", "model.backbone=test_resnet"), run_config(out=run_config().out / "b"))
    begun = opened(tiny(f"model.start_from={path}"), run_config(out=run_config().out / "c"))
    assert torch.equal(
        begun.model.state_dict()["query.reduce.weight"], checkpoint.load(path)["weights"]["query.reduce.weight"]
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not", b"\x80\x02x"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.pt: not a checkpoint, or a damaged one"):
        checkpoint.load(path)


def test_a_checkpoint_runs_nothing_that_is_in_it(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"recipe": Harm(), "weights": {}, "steps": 0}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match="not a checkpoint"):
        checkpoint.load(tmp_path / "x.pt")
    assert not (tmp_path / "harm").exists()


def test_a_checkpoint_prepared_otherwise_is_refused(tiny, run_config):
    path = train.run(tiny("train.epochs=1"), run_config())
    state = checkpoint.load(path)
    carried = state["preprocessing"]
    assert carried["mean"] == [0.485, 0.456, 0.406] and carried["query"]["width_px"] == 128
    carried["mean"] = [0.5, 0.5, 0.5]
    checkpoint.save(path, state)
    with pytest.raises(ModelError, match="was trained on pictures prepared as"):
        checkpoint.trained(path)


def test_few_shot_takes_its_share_of_the_ids(tiny, run_config):
    of = tiny("data.share=0.25")
    split = open_part(of, "train", where=Where(None, run_config().cache), sizes=checkpoint.views(of))
    few = few_shot(split, 0.25, seed=1)
    assert len(few.query) == len(few.aerial) == 10 and set(few.query_id) <= set(split.query_id)
    rng = np.random.default_rng(0)
    assert np.array_equal(few.query.read(3, rng), split.query.read(int(few.query_id[3]), rng))
    assert np.array_equal(few_shot(split, 0.25, seed=1).query_id, few.query_id)
    assert len(rows(train.run(of, run_config()).parent)) == 2  # ten pairs an epoch


def test_pictures_of_an_epoch_follow_from_seed_epoch_and_sample(tiny, run_config):
    of = tiny("augment.light=0.8", "augment.turn=0.5", "augment.flip=0.5", "augment.erase=0.5")
    feed = opened(of, run_config()).feed
    one, two = (feed.epoch(1, None)[2] for _ in range(2))
    assert torch.equal(one.query, two.query) and torch.equal(one.aerial, two.aerial)
    assert not torch.equal(feed.epoch(2, None)[2].query, one.query)


def test_the_kept_batch_says_which_pairs_show_the_same_ground(tiny, run_config):
    of = tiny()
    split = open_part(of, "train", where=Where(None, run_config().cache), sizes=checkpoint.views(of))
    near = dataclasses.replace(split, apart_m=40.0)
    feed = feeds.SplitFeed(of, near, Ranks())
    batch = feed.epoch(0, None)[0]
    away = np.linalg.norm(split.query_xyz_m[batch.samples][:, None] - split.query_xyz_m[batch.samples][None], axis=2)
    expected = (away < 40) & ~np.eye(10, dtype=bool)
    assert np.array_equal(batch.ignore.numpy(), expected) and expected.any()
