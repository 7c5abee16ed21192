"""A checkpoint of a network that learnt nothing. Without the extra [export] nothing here is collected."""

import dataclasses
from importlib.util import find_spec

import pytest

if any(find_spec(module) is None for module in ("torch", "torchvision", "timm", "onnx")):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    import torch

    from pilotage_trainer import checkpoint
    from pilotage_trainer.recipe import recipe

    small = ["views.query_px=[64, 64]", "views.aerial_px=[64, 64]", "views.ground_size_m=[40.0, 60.0]"]
    of = dataclasses.replace(recipe("nadir-512", small), name="untrained")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "untrained.pt"
    state = {"weights": checkpoint.build(of).state_dict(), "steps": 0}
    checkpoint.save(path, {"recipe": of.to_dict(), "preprocessing": checkpoint.preprocessing(of), **state})
    return path


@pytest.fixture(scope="session", params=["fp16", "fp32"])
def exported(request, untrained, tmp_path_factory):
    from pilotage_export.onnx_export import export

    path = tmp_path_factory.mktemp("export") / f"{request.param}.onnx"
    contract, proof = export(untrained, path, precision=request.param)
    return path, contract, proof
