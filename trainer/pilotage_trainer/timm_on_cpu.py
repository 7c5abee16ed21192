"""Import timm where torch is a CPU build and torchvision is not.

PyPI's torchvision for x86-64 Linux is compiled for CUDA; beside a CPU torch its operators fail to load, and its import
then dies on `operator torchvision::nms does not exist`. timm needs torchvision's transforms, never its operators, so
the two names it registers shapes for are declared here. Nothing can call them by mistake: they have no implementation.

Where the real operators load (a CUDA torch, a Mac, an ARM board) nothing may be declared: torch refuses a name that is
registered twice, and the real library would then be the one that is refused.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # kept: the names go when it is collected


def _real_operators_load(package: Path) -> bool:
    """Load torchvision's own operators, as its import is about to; say whether that worked."""
    for library in sorted(package.glob("_C*")):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:  # compiled for another torch, or for a CUDA that is not here
            continue
        return True
    return False


def _declare_missing_operators() -> None:
    global _library  # noqa: PLW0603
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None or _library is not None:
        return
    if _real_operators_load(Path(found.origin).parent):
        return
    _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for signature in _SIGNATURES:
        if not hasattr(torch.ops.torchvision, signature.split("(")[0]):
            _library.define(signature)  # type: ignore[no-untyped-call]


_declare_missing_operators()

import timm  # noqa: E402

create_model, is_model = timm.create_model, timm.is_model
