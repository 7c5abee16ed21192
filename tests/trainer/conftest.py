"""A recipe small enough to train in a test. Without the extra [train] nothing here is collected."""

import dataclasses
from importlib.util import find_spec

import pytest

if any(find_spec(module) is None for module in ("torch", "torchvision", "timm")):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def world_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture
def tiny(monkeypatch):
    from pilotage_trainer import recipes
    from pilotage_trainer.data.batches import BatchConfig

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
    from pilotage_trainer.train import RunConfig

    def make(**changes):
        values = {"out": tmp_path / "run", "cache": world_cache, "threads": 1, "workers": 0, "max_steps": 3}
        return RunConfig(**{**values, **changes})

    return make


@pytest.fixture
def unmeasured(monkeypatch):
    """No validation during a run: it is most of a short run's time."""
    monkeypatch.setattr("pilotage_trainer.train.recall", lambda describe, source, protocol: {})
