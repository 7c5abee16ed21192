"""Write an encoder as ONNX: uint8 camera pixels in, unit descriptors out, the whole contract in its metadata."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pilotage.contract import METADATA_KEY, Contract
from pilotage.engine import OnnxEngine
from pilotage.errors import ModelError
from pilotage.world.generate import WorldConfig, make_world
from pilotage_trainer import checkpoint
from pilotage_trainer.data.augment import footprint_mask, mask_out
from pilotage_trainer.data.worlds import WorldSource
from pilotage_trainer.dense import describer
from pilotage_trainer.models import FrGeo
from pilotage_trainer.recipe import Recipe

OPSET = 17
PARITY_KEY = "pilotage.parity"
PROOF_SEED = 3000
MIN_COSINE = 0.999


class Deployed(nn.Module):
    """The network as it flies: Cast first, then layout, then normalisation; backbone in half precision if asked.

    The Cast comes first because TensorRT takes uint8 inputs only into a Cast. LayerNorm and the last L2
    normalisation stay in float32: their sums of squares leave half precision's range.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, model: FrGeo, recipe: Recipe, *, half: bool) -> None:
        super().__init__()
        self.model = model
        self.kind = torch.float16 if half else torch.float32
        model.backbone.to(self.kind)
        mean, std = checkpoint.statistics(recipe)
        self.register_buffer("mean", (torch.tensor(mean) * 255).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (torch.tensor(std) * 255).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, D) float32."""
        pixels = (images.to(torch.float32).permute(0, 3, 1, 2) - self.mean) * self.scale
        descriptors: Tensor = self.model(pixels.to(self.kind))
        return descriptors


def model_id(model: nn.Module, name: str) -> str:
    """Return the name and a digest of the weights: one id for all precisions of one training."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().to(torch.float32).numpy().tobytes())
    return f"{name}-{digest.hexdigest()[:12]}"


def export(path: Path, output: Path, *, precision: str = "fp16") -> tuple[Contract, dict[str, float]]:
    """Export a checkpoint, prove its parity with torch in float32, write it atomically; return contract and proof."""
    if precision not in ("fp16", "fp32"):
        raise ModelError(f"precision {precision!r}; known are fp16 and fp32")
    reference, recipe = _shared(path)
    side, _ = checkpoint.sizes(recipe)[0]
    mean, std = checkpoint.statistics(recipe)
    contract = Contract(
        model_id=model_id(reference, recipe.name),
        name=recipe.name,
        view=recipe.views.query,
        role="both",
        width=side,
        height=side,
        descriptor=reference.descriptor,
        ground_size_m=recipe.views.ground_size_m,
        mean=mean,
        std=std,
        precision=precision,
        quadrants=reference.layout == "quadrants",
    )
    half, _ = _shared(path)
    blob = _to_onnx(Deployed(half, recipe, half=precision == "fp16").eval(), side, contract)
    proof = parity(reference, recipe, blob)
    if not proof["min_cosine"] >= MIN_COSINE:  # so that a NaN fails
        raise ModelError(
            f"{path}: {precision} parity failed, min cosine {proof['min_cosine']:.5f} < {MIN_COSINE}: export with "
            "--precision fp32"
        )
    _write(output, _with_metadata(blob, PARITY_KEY, json.dumps(proof, sort_keys=True)))
    return contract, proof


def _shared(path: Path) -> tuple[FrGeo, Recipe]:
    """Return the one branch of a checkpoint whose branches share their weights."""
    model, recipe = checkpoint.trained(path)
    if not model.shared or not isinstance(model.query, FrGeo) or recipe.views.query != "nadir":
        what = f"{recipe.model.name} for {recipe.views.query} views"
        raise ModelError(f"{path}: {what}: only FRGeo with shared weights for nadir views can be exported so far")
    return model.query, recipe


def _write(output: Path, blob: bytes) -> None:
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as stream:
            stream.write(blob)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(output)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelError(f"{output}: cannot write ({error.strerror})") from error


def _fold_shared_weights(blob: bytes) -> bytes:
    """Let nodes read a shared weight itself: the exporter puts an Identity for each before the Cast."""
    model = onnx.load_from_string(blob)
    weights = {weight.name for weight in model.graph.initializer}
    copies = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Identity" and n.input[0] in weights}
    kept = [node for node in model.graph.node if not (node.op_type == "Identity" and node.output[0] in copies)]
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = copies.get(name, name)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return bytes(model.SerializeToString())


def _with_metadata(blob: bytes, key: str, value: str) -> bytes:
    graph = onnx.load_from_string(blob)
    entry = graph.metadata_props.add()
    entry.key, entry.value = key, value
    return bytes(graph.SerializeToString())


def _to_onnx(model: Deployed, side: int, contract: Contract) -> bytes:
    buffer = io.BytesIO()
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the TorchScript exporter is deprecated; the new one wants no BytesIO
        torch.onnx.export(
            model,
            (example,),
            buffer,  # type: ignore[arg-type]
            input_names=["images"],
            output_names=["descriptors"],
            dynamic_axes={"images": {0: "batch"}, "descriptors": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    blob = _with_metadata(_fold_shared_weights(buffer.getvalue()), METADATA_KEY, contract.to_json())
    onnx.checker.check_model(blob, full_check=True)
    return blob


def parity(reference: FrGeo, recipe: Recipe, blob: bytes) -> dict[str, float]:
    """Compare the exported graph in ONNX Runtime with torch in float32, on tiles and frames of a world."""
    images = sample_images(recipe)
    expected = describer(reference, recipe)(images)
    with OnnxEngine(blob) as engine:
        cosine = np.sum(expected * engine.run(images), axis=1)
    numbers = {"min_cosine": cosine.min(), "mean_cosine": cosine.mean(), "images": len(images)}
    return {name: round(float(number), 6) for name, number in numbers.items()}


def sample_images(recipe: Recipe, count: int = 32) -> NDArray[np.uint8]:
    """Return map tiles and camera frames, in turn, of a small world that no recipe trains on."""
    source = WorldSource(make_world(PROOF_SEED, WorldConfig(size_m=400)))
    rng = np.random.default_rng(1)
    size: dict[str, Any] = {"ground_m": 80.0, "side_px": checkpoint.sizes(recipe)[0][0]}
    views = []
    for turn, (north_m, east_m) in enumerate(rng.uniform(-120, 120, (count, 2))):
        if turn % 2:
            frame = source.view_camera(north_m, east_m, rng=rng, error=1.0, offset=0.0, **size)
            views.append(mask_out(frame, footprint_mask(size["side_px"], rng)))
        else:
            views.append(source.view_map(north_m, east_m, **size))
    return np.stack(views)
