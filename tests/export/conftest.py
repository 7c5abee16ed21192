"""A checkpoint of a network that learnt nothing. Without the extra [export] nothing here is collected."""

import dataclasses
from importlib.util import find_spec

import pytest

if any(find_spec(module) is None for module in ("torch", "torchvision", "timm", "onnx")):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    import torch

    from pilotage_trainer import checkpoint, recipes
    from pilotage_trainer.data.batches import BatchConfig

    recipe = dataclasses.replace(
        recipes.recipe("nadir-512"), name="untrained", batch=BatchConfig(side_px=64, ground_m=(40.0, 60.0))
    )
    torch.manual_seed(0)
    model = checkpoint.build(recipe)
    path = tmp_path_factory.mktemp("run") / "untrained.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes.RECIPES, "untrained", recipe)
        checkpoint.save(path, {"recipe": "untrained", "ema": model.state_dict(), "steps": 0})
        yield path


@pytest.fixture(scope="session", params=["fp16", "fp32"])
def exported(request, untrained, tmp_path_factory):
    from pilotage_export.onnx_export import export

    path = tmp_path_factory.mktemp("export") / f"{request.param}.onnx"
    contract, proof = export(untrained, path, precision=request.param)
    return path, contract, proof
