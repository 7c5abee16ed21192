"""A recipe small enough to train in a test."""

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="needs pilotage[train]")

from pilotage_trainer import recipes  # noqa: E402
from pilotage_trainer.data.batches import BatchConfig  # noqa: E402
from pilotage_trainer.train import RunConfig  # noqa: E402


@pytest.fixture(scope="session")
def world_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture
def tiny(monkeypatch):
    recipe = dataclasses.replace(
        recipes.recipe("nadir-512"),
        name="tiny",
        batch=BatchConfig(pairs=16, places=2, side_px=64, ground_m=(40.0, 60.0)),
        world_seeds=(1000,),
        validation_seeds=(2000,),
        world_size_m=300.0,
    )
    monkeypatch.setitem(recipes.RECIPES, "tiny", recipe)
    return recipe


@pytest.fixture
def run_config(tmp_path, world_cache):
    def make(**changes):
        values = {"out": tmp_path / "run", "cache": world_cache, "threads": 1, "workers": 0, "max_steps": 3}
        return RunConfig(**{**values, **changes})

    return make
