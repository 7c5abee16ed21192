"""A recipe small enough to train in a test. Without the extra [train] nothing here is collected."""

from importlib.util import find_spec

import pytest

if any(find_spec(module) is None for module in ("torch", "torchvision", "timm")):
    collect_ignore_glob = ["test_*.py"]

TINY = (
    "data.options.train_seeds=[1000]",
    "data.options.val_seeds=[2000]",
    "data.options.places=40",
    "data.options.world_size_m=300.0",
    "model.backbone=test_convnext3",
    "train.epochs=2",
    "train.batch=10",
    "train.validate_epochs=2",
    "train.amp=off",
)


@pytest.fixture(scope="session")
def world_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture
def tiny():
    """Return a maker of small recipes: `tiny("loss.name=wbl")`."""
    from pilotage_trainer.recipe import recipe

    def make(*changes, name="frgeo-world"):
        return recipe(name, [*TINY, *changes])

    return make


@pytest.fixture
def run_config(tmp_path, world_cache):
    from pilotage_trainer.train import RunConfig

    def make(**changes):
        values = {"out": tmp_path / "run", "cache": world_cache, "threads": 1, "device": "cpu", "quiet": True}
        return RunConfig(**{**values, **changes})

    return make
