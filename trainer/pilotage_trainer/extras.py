"""Whether what training needs is installed. Imports nothing of it."""

from __future__ import annotations

from importlib.util import find_spec

from pilotage.errors import MissingExtraError, require

_MODULES = ("torch", "torchvision", "timm")


def require_training(*, extra: str, purpose: str) -> None:
    """Say which extra is missing. Only torch is imported: the other two need `timm_on_cpu` to go first."""
    for module in _MODULES:
        if find_spec(module) is None:
            raise MissingExtraError(f"{purpose} needs {module}: pip install 'pilotage[{extra}]'")
    require("torch", extra=extra, purpose=purpose)
