"""What an encoder promises: written once, into the ONNX metadata at export, and read from there by everyone."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from pilotage.errors import ModelError

METADATA_KEY = "pilotage.contract"
FORMAT = 1
FILL_RGB = (124, 116, 104)
"""Pixels that no camera or map covers, before the encoder: ImageNet's mean, so that they are near zero inside."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The encoder takes (N, height, width, 3) uint8 RGB and gives (N, descriptor) float32 rows of unit length."""

    model_id: str  # one id for the query and the aerial encoder that belong together
    name: str  # the zoo's name, such as "nadir-512"
    view: str  # "nadir" or "ground"
    role: str  # "query", "aerial" or "both" (shared weights)
    width: int
    height: int
    descriptor: int
    ground_size_m: tuple[float, float]  # the tile sizes it was trained for, smallest and largest
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    precision: str  # "fp32" or "fp16"
    quadrants: bool = False  # the descriptor is four blocks (FRM), so a 90-degree turn is a roll of the blocks
    normalise: str = "inside"  # mean and std are applied inside the graph
    colour: str = "RGB"
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ModelError(f"encoder contract has format {self.format}, this version reads {FORMAT}: update pilotage")
        if self.view not in ("nadir", "ground") or self.role not in ("query", "aerial", "both"):
            raise ModelError(f"encoder contract has view {self.view!r}, role {self.role!r}: not one this version knows")
        if min(self.width, self.height, self.descriptor) < 1 or max(self.width, self.height, self.descriptor) > 8192:
            raise ModelError(f"encoder contract has size {self.width}x{self.height}, descriptor {self.descriptor}")
        low_m, high_m = self.ground_size_m
        if not (0 < low_m <= high_m and math.isfinite(high_m)):
            raise ModelError(f"encoder contract has ground size {low_m}..{high_m} m")

    def to_json(self) -> str:
        """Return canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, *, source: str) -> Contract:
        """Read the contract from an ONNX file's metadata or a pack's manifest."""
        try:
            raw: dict[str, Any] = json.loads(text)
            for key in ("ground_size_m", "mean", "std"):
                raw[key] = tuple(float(value) for value in raw[key])
            return cls(**raw)
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(f"{source}: its encoder contract cannot be read ({error}): export it again") from error
