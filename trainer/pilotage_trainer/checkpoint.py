"""Checkpoints: written whole or not at all, read without running anything that is in them."""

from __future__ import annotations

import dataclasses
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from pilotage.errors import ModelError
from pilotage_trainer.data.views import View
from pilotage_trainer.models import TwoBranch, create
from pilotage_trainer.models.encoder import Size
from pilotage_trainer.models.zoo import Three, spec
from pilotage_trainer.recipe import Recipe

FORMAT = 2


def save(path: Path, state: dict[str, Any]) -> None:
    """Write atomically."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        torch.save({"format": FORMAT, **state}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:  # torch reads flipped bits as weights
                if (bad := parts.testzip()) is not None:
                    raise ValueError(f"{bad} is not what was written")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the checkpoint ({error.strerror})") from error
    except (RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]  # an empty file: EOFError, without a word
        raise ModelError(f"{path}: not a checkpoint, or a damaged one ({reason})") from error
    if not isinstance(state, dict) or not {"recipe", "weights", "steps"} <= set(state):
        raise ModelError(f"{path}: not a Pilotage checkpoint: train with `pilotage-train run`")
    if state.get("format") != FORMAT:
        raise ModelError(f"{path}: is of format {state.get('format')}, this version reads {FORMAT}: train it again")
    return state


def build(of: Recipe, *, pretrained: bool = False) -> TwoBranch:
    """Return the network of a recipe, untrained."""
    query, aerial = sizes(of)
    return create(
        of.model.name,
        query_view=of.views.query,
        query_px=query,
        aerial_px=aerial,
        backbone=of.model.backbone or None,
        shared=of.model.shared,
        pretrained=pretrained,
        options=of.model.options,
    )


def trained(path: Path) -> tuple[TwoBranch, Recipe]:
    """Return the network of a checkpoint, averaged if it was trained so, ready to describe."""
    state = load(path)
    of = Recipe.from_dict(state["recipe"])
    was, now = state.get("preprocessing"), preprocessing(of)
    if was != now:
        raise ModelError(
            f"{path}: was trained on pictures prepared as {was}; this version prepares {now}: use that one"
        )
    model = build(of)
    fill(model, state["weights"], where=f"{path}: its weights are not of recipe {of.name!r}")
    return model.eval(), of


def fill(model: TwoBranch, weights: dict[str, Any], *, where: str) -> None:
    """Load weights, or say in a line what does not fit."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ModelError(f"{where} ({lines[1].strip() if len(lines) > 1 else lines[0]})") from error


def sizes(of: Recipe) -> tuple[Size, Size]:
    """Return the input sizes of both branches: the recipe's, or else the paper's."""
    known = spec(of.model.name)
    return of.views.query_px or known.ground_px, of.views.aerial_px or known.aerial_px


def preprocessing(of: Recipe) -> dict[str, Any]:
    """Return the contract of a checkpoint: what its pictures went through, in plain values."""
    query, aerial = (dataclasses.asdict(view) for view in views(of))
    mean, std = statistics(of)
    return {"colour": "RGB", "query": query, "aerial": aerial, "mean": list(mean), "std": list(std)}


def views(of: Recipe) -> tuple[View, View]:
    """Return what is done to the pictures of both branches."""
    query, aerial = sizes(of)
    polar = spec(of.model.name).polar if of.views.aerial_polar is None else of.views.aerial_polar
    return (
        View(*query, middle_half=of.views.query_middle_half, turn_deg=of.views.turn_deg, fov_deg=of.views.fov_deg),
        View(*aerial, polar=polar and of.views.query == "ground"),
    )


def statistics(of: Recipe) -> tuple[Three, Three]:
    """Return the mean and the standard deviation that pixels are normalised with."""
    mean, std = spec(of.model.name).statistics
    return of.views.mean or mean, of.views.std or std
