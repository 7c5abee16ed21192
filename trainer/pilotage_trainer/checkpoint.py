"""Checkpoints: written whole or not at all, read without running anything that is in them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from pilotage.errors import ModelError
from pilotage_trainer.models import FrGeo
from pilotage_trainer.recipes import Recipe, recipe


def save(path: Path, state: dict[str, Any]) -> None:
    """Write atomically."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the checkpoint ({error.strerror})") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]  # an empty file: EOFError, without a word
        raise ModelError(f"{path}: not a checkpoint, or a damaged one ({reason})") from error
    if not isinstance(state, dict) or not {"recipe", "ema", "steps"} <= set(state):
        raise ModelError(f"{path}: not a Pilotage checkpoint: train with `pilotage-train run`")
    return state


def build(of: Recipe) -> FrGeo:
    """Return the untrained network of a recipe."""
    return FrGeo(of.backbone, layout="strips" if of.view == "ground" else "quadrants")


def trained(path: Path) -> tuple[FrGeo, Recipe]:
    """Return the averaged network of a checkpoint, ready to describe."""
    state = load(path)
    of = recipe(state["recipe"])
    model = build(of)
    try:
        model.load_state_dict(state["ema"])
    except RuntimeError as error:
        raise ModelError(f"{path}: its weights are not of recipe {of.name!r} ({str(error).splitlines()[0]})") from error
    return model.eval(), of
