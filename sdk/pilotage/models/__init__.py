"""The encoders that ship with Pilotage, and their cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pilotage.errors import ModelError

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return what is shipped."""
    return sorted(p.stem for p in _FOLDER.glob("*.onnx"))


def path(name: str) -> Path:
    """Return the ONNX of a shipped model."""
    if name not in names():
        shipped = ", ".join(names()) or "none"
        raise ModelError(f"unknown model {name!r}; shipped are {shipped}: or give a path to an .onnx")
    return _FOLDER / f"{name}.onnx"


def find(name_or_path: str) -> Path:
    """Return a shipped model by name, or any .onnx by path."""
    if name_or_path.endswith(".onnx"):
        found = Path(name_or_path)
        if not found.is_file():
            raise ModelError(f"{found}: no such model file")
        return found
    return path(name_or_path)


def card(name: str) -> dict[str, Any]:
    """Return the model card: what it was trained on, what it was measured on, its licence."""
    loaded: dict[str, Any] = json.loads(path(name).with_suffix(".json").read_text(encoding="utf-8"))
    return loaded
