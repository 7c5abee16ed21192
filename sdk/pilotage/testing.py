"""Stand-ins for tests of our users and of ourselves. Named for what they are: nothing here describes real ground."""

from __future__ import annotations

from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.contract import Contract

FAKE_CONTRACT = Contract(
    model_id="fake-0",
    name="fake",
    view="nadir",
    role="both",
    width=128,
    height=128,
    descriptor=512,
    ground_size_m=(20.0, 400.0),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    precision="fp32",
)


class FakeEngine:
    """Describes a picture by its blurred grey values through a fixed random matrix: alike pictures come out alike."""

    def __init__(self, contract: Contract = FAKE_CONTRACT) -> None:
        self._contract = contract
        rng = np.random.default_rng(0)
        self._matrix = rng.standard_normal((256, contract.descriptor), dtype=np.float32)
        self.closed = False

    @property
    def contract(self) -> Contract:
        """What it promises."""
        return self._contract

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Describe (N, H, W, 3) uint8 pictures."""
        rows = np.empty((len(images), 256), np.float32)
        for row, image in zip(rows, images, strict=True):
            small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (16, 16), interpolation=cv2.INTER_AREA)
            row[:] = small.astype(np.float32).ravel()
        rows -= rows.mean(axis=1, keepdims=True)
        descriptors = rows @ self._matrix
        length = np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-6)
        return np.asarray(descriptors / length, np.float32)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
