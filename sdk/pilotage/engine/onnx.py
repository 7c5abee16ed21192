"""The embedded default: ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pilotage.contract import METADATA_KEY, Contract
from pilotage.errors import EngineError, ModelError


class OnnxEngine:
    """An exported encoder in an ONNX Runtime session."""

    def __init__(self, model: Path | bytes, *, threads: int = 1) -> None:
        source = str(model) if isinstance(model, Path) else "the model inside the pack"
        if isinstance(model, Path) and not model.is_file():
            raise ModelError(f"{model}: no such model file")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            payload = str(model) if isinstance(model, Path) else model
            self._session = ort.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own classes, straight from C++
            raise ModelError(f"{source}: ONNX Runtime cannot load it ({str(error).splitlines()[0]})") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise ModelError(f"{source}: not a Pilotage encoder (no {METADATA_KEY!r} metadata): use pilotage-export")
        self._contract = Contract.from_json(metadata[METADATA_KEY], source=source)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        shape = self._session.get_inputs()[0].shape
        if list(shape[1:]) != [self._contract.height, self._contract.width, 3]:
            raise ModelError(f"{source}: takes {shape}, its contract says otherwise: export it again")

    @property
    def contract(self) -> Contract:
        """What the encoder promises."""
        return self._contract

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode (N, height, width, 3) uint8 RGB into (N, descriptor) float32 rows of unit length."""
        expected = (self._contract.height, self._contract.width, 3)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            raise EngineError(f"encoder takes uint8 (N, {expected}), got {images.dtype} {images.shape}")
        descriptors: NDArray[np.float32] = self._session.run([self._output], {self._input: images})[0]
        return descriptors

    def close(self) -> None:
        """Free the session."""
        del self._session

    def __enter__(self) -> OnnxEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
