"""Recipes: everything that made a set of weights, in one value."""

from __future__ import annotations

from dataclasses import dataclass

from pilotage.errors import ModelError
from pilotage_trainer.data.batches import BatchConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is trained."""

    name: str
    backbone: str
    view: str
    batch: BatchConfig
    world_seeds: tuple[int, ...]
    validation_seeds: tuple[int, ...]
    world_size_m: float
    orthophoto_share: float  # of the places in a batch, when orthophotos are given
    held_out_orthophotos: tuple[str, ...]
    lr: float = 1e-3
    weight_decay: float = 0.02
    warm_up: float = 0.03  # share of the run
    smoothing: float = 0.1
    ema: float = 0.998
    seed: int = 2024
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


RECIPES = {
    "nadir-512": Recipe(
        name="nadir-512",
        backbone="resnet10t",
        view="nadir",
        batch=BatchConfig(),
        world_seeds=tuple(range(1000, 1030)),  # never 0..99, which are the demo's
        validation_seeds=(2000, 2001),
        world_size_m=1000.0,
        orthophoto_share=0.35,
        held_out_orthophotos=("s0a_r01_c05", "s0a_r02_c05", "s0b_r01_c05", "s0b_r02_c05", "s0b_r03_c05", "s0a_r03_c05"),
    )
}


def recipe(name: str) -> Recipe:
    """Return a recipe by name."""
    try:
        return RECIPES[name]
    except KeyError:
        raise ModelError(f"unknown recipe {name!r}; known are {', '.join(sorted(RECIPES))}") from None
