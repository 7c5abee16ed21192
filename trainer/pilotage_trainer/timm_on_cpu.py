"""Import timm where torch is a CPU build and torchvision is not.

PyPI's torchvision is compiled for CUDA; beside a CPU torch its operators fail to load, and its import then dies on
`operator torchvision::nms does not exist`. timm needs torchvision's transforms, never its operators, so the two names
it registers shapes for are declared here, only where the real ones are missing. Nothing can call them by mistake:
they have no implementation.
"""

from __future__ import annotations

import torch

_SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # kept: the names go when it is collected


def _declare_missing_operators() -> None:
    global _library  # noqa: PLW0603
    if torch.version.cuda is None and _library is None:
        _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for signature in _SIGNATURES:
            if not hasattr(torch.ops.torchvision, signature.split("(")[0]):
                _library.define(signature)  # type: ignore[no-untyped-call]


_declare_missing_operators()

import timm  # noqa: E402

create_model = timm.create_model
