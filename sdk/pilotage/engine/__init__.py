"""Engines: a loaded encoder on some hardware. One protocol, one file per backend, one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pilotage.contract import Contract
from pilotage.engine.onnx import OnnxEngine
from pilotage.errors import EngineError

__all__ = ["Engine", "OnnxEngine", "open_engine"]


class Engine(Protocol):
    """Images in, unit descriptors out. Not thread-safe: one engine per thread."""

    @property
    def contract(self) -> Contract:
        """What the encoder promises."""

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode (N, height, width, 3) uint8 RGB into (N, descriptor) float32 rows of unit length."""

    def close(self) -> None:
        """Free the hardware."""

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


_BACKENDS: dict[str, Callable[[Path | bytes, int], Engine]] = {
    "onnx": lambda model, threads: OnnxEngine(model, threads=threads),
}


def open_engine(model: Path | bytes, *, backend: str = "onnx", threads: int = 1) -> Engine:
    """Load an exported encoder, from a file or from the bytes inside a verified pack."""
    try:
        make = _BACKENDS[backend]
    except KeyError:
        raise EngineError(f"unknown engine {backend!r}; known are {', '.join(sorted(_BACKENDS))}") from None
    return make(model, threads)
