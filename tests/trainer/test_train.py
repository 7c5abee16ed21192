"""A run: it learns, it is cut and goes on, it ends, it refuses."""

import json

import pytest
import torch

from pilotage.errors import ModelError
from pilotage_trainer import checkpoint, train


@pytest.fixture
def batch(tiny):
    generator = torch.Generator().manual_seed(0)
    views = torch.randint(0, 255, (16, 64, 64, 3), dtype=torch.uint8, generator=generator)
    return views, views.clone(), torch.zeros(16, 16, dtype=torch.bool)


def test_three_steps_lower_the_loss(tiny, run_config, batch):
    trainer = train.Trainer(tiny, run_config(max_steps=30))
    losses = [trainer.step(*batch) for _ in range(4)]
    assert losses[-1] < losses[0]


def test_a_run_leaves_a_checkpoint_that_describes(tiny, run_config):
    path = train.run(tiny, run_config())
    model, recipe = checkpoint.trained(path)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 512)
    lines = [json.loads(line) for line in (path.parent / "log.jsonl").read_text().splitlines()]
    assert recipe == tiny and lines[-1]["step"] == 3 and 0 <= lines[-1]["validation"]["recall_at_1_15m"] <= 1
    assert not list(path.parent.glob("*.part"))


def test_a_cut_run_goes_on_where_it_was(tiny, run_config, unmeasured):
    path = train.run(tiny, run_config(max_steps=2))
    before = checkpoint.load(path)
    resumed = train.Trainer(tiny, run_config(max_steps=4))
    assert resumed.resume() and resumed.steps == 2 and resumed.spent_s == before["spent_s"]
    for mine, saved in zip(resumed.model.state_dict().values(), before["model"].values(), strict=True):
        assert torch.equal(mine, saved)
    assert resumed.optimiser.state_dict()["state"][0]["step"] == 2
    assert checkpoint.load(train.run(tiny, run_config(max_steps=4)))["steps"] == 4


def test_a_finished_run_is_left_as_it_is(tiny, run_config, unmeasured):
    path = train.run(tiny, run_config(max_steps=1))
    content = path.read_bytes()
    assert train.run(tiny, run_config(max_steps=1)) == path and path.read_bytes() == content


def test_the_rate_warms_up_and_comes_down(tiny, run_config):
    trainer = train.Trainer(tiny, run_config(minutes=10.0, max_steps=0))
    rates = []
    for share in (0.0, 0.03, 0.5, 1.0):
        trainer.spent_s = share * 600
        trainer._set_rate()
        rates.append(trainer.optimiser.param_groups[0]["lr"])
    assert rates[0] < 0.1 * tiny.lr and rates[1] > 0.95 * tiny.lr
    assert rates[2] == pytest.approx(tiny.lr / 2, rel=0.01) and rates[3] == pytest.approx(tiny.lr * 1e-3)


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_batch(tiny, run_config, batch):
    config = run_config()
    config.out.mkdir()
    trainer = train.Trainer(tiny, config)
    with torch.no_grad():
        trainer.model.reduce.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="loss is nan at step 0"):
        trainer.step(*batch)
    assert (config.out / "nan-batch.npz").is_file() and trainer.steps == 0


@pytest.mark.parametrize("content", [b"", b"PK not a zip", b"\x80\x02N."])
def test_what_is_not_a_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.pt"):
        checkpoint.load(path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("ran",))

    path = tmp_path / "trap.pt"
    torch.save({"recipe": Trap(), "ema": {}, "steps": 0}, path)
    with pytest.raises(ModelError, match="not a checkpoint"):
        checkpoint.load(path)


def test_held_out_orthophotos_are_never_a_source(tiny, run_config, tmp_path):
    import cv2
    import numpy as np

    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for stem in (*tiny.held_out_orthophotos, "other"):
        cv2.imwrite(str(tiles / f"{stem}.jpg"), np.zeros((400, 400, 3), np.uint8))
    found, weights = train.sources(tiny, run_config(orthophotos=tiles))
    assert len(found) == 2 and sum(weights) == pytest.approx(1)


def test_no_recipe_trains_on_the_demos_worlds():
    from pilotage_trainer.recipes import RECIPES

    for recipe in RECIPES.values():
        assert min((*recipe.world_seeds, *recipe.validation_seeds)) >= 100
        assert not set(recipe.world_seeds) & set(recipe.validation_seeds)
