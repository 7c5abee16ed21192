"""A recipe small enough to train in a test. Without the extra [train] nothing here is collected."""

from importlib.util import find_spec

import numpy as np
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


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Threads that wait for one another on a busy machine make small networks ten times slower."""
    import torch

    torch.set_num_threads(1)


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


class Pictures:
    """Noise, the same for the same number; those in `broken` cannot be read."""

    def __init__(self, numbers, size, broken=()):
        self.numbers, self._size, self._broken = list(numbers), size, set(broken)

    def __len__(self):
        return len(self.numbers)

    def name(self, index):
        return f"picture {index}"

    def read(self, index, rng):
        from pilotage.errors import ImageError

        if index in self._broken:
            raise ImageError(f"picture {index}: not a picture that can be read")
        return np.random.default_rng(self.numbers[index]).integers(0, 255, (*self._size, 3), dtype=np.uint8)


@pytest.fixture
def in_memory():
    """Return a maker of splits of noise: `in_memory([0, 0, 1], tiles=[0, 1, 1])` gives the ids of both sides."""
    from pilotage_trainer.data.split import Split

    def make(ids, *, tiles=None, size=(16, 32), tile_size=(16, 16), broken=(), **more):
        ids = np.asarray(ids, np.int64)
        tiles = np.unique(ids) if tiles is None else np.asarray(tiles, np.int64)
        query = Pictures(np.arange(len(ids)), size, broken)
        return Split("noise", query, Pictures(1000 + np.arange(len(tiles)), tile_size), ids, tiles, **more)

    return make
