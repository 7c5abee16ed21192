"""What is exported: the graph TensorRT wants, the contract inside, the same descriptors as torch."""

import json

import numpy as np
import onnx
import pytest

from pilotage.engine import open_engine
from pilotage.errors import ModelError
from pilotage_export import cli, onnx_export
from pilotage_export.onnx_export import export, sample_images
from pilotage_trainer import checkpoint
from pilotage_trainer.dense import describer
from pilotage_trainer.recipe import names, recipe


def test_the_engine_describes_as_torch_does(exported, untrained):
    path, contract, proof = exported
    model, of = checkpoint.trained(untrained)
    images = sample_images(of, count=5)
    with open_engine(path) as engine:
        described = engine.run(images)
        one = engine.run(images[2:3])
    assert described.dtype == np.float32 and described.shape == (5, 512)
    assert np.sum(described * describer(model.query, of)(images), axis=1).min() >= 0.999
    np.testing.assert_allclose(np.linalg.norm(described, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(one[0], described[2], atol=2e-3)  # the batch is dynamic
    assert proof["min_cosine"] >= (0.999 if contract.precision == "fp16" else 0.999999)


def test_the_contract_travels_inside_and_the_proof_beside_it(exported):
    path, contract, proof = exported
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(metadata["pilotage.parity"]) == proof and proof["images"] == 32
    with open_engine(path) as engine:
        assert engine.contract == contract
    assert (contract.view, contract.role, contract.descriptor, contract.quadrants) == ("nadir", "both", 512, True)
    assert contract.width == contract.height == 64 and contract.ground_size_m == (40.0, 60.0)
    assert contract.model_id.startswith("untrained-") and path.name == f"{contract.precision}.onnx"


def test_the_cast_comes_first_and_alone(exported):
    graph = onnx.load(exported[0]).graph
    readers = [node for node in graph.node if graph.input[0].name in node.input]
    assert [node.op_type for node in readers] == ["Cast"] and graph.node[0] == readers[0]
    kind = graph.input[0].type.tensor_type
    assert kind.elem_type == onnx.TensorProto.UINT8 and kind.shape.dim[0].dim_param == "batch"


def test_convolutions_are_of_the_precision_and_normalisations_in_float32(exported):
    path, contract, _ = exported
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    by_type = {}
    for node in graph.node:
        by_type.setdefault(node.op_type, set()).add(kinds[node.output[0]])
    half = onnx.TensorProto.FLOAT16 if contract.precision == "fp16" else onnx.TensorProto.FLOAT
    assert by_type["Conv"] == {half}
    assert by_type["LayerNormalization"] == by_type["MatMul"] == {onnx.TensorProto.FLOAT}
    assert kinds[graph.output[0].name] == onnx.TensorProto.FLOAT


def test_half_precision_is_half_the_size_and_below_15_mb(exported):
    path, contract, _ = exported
    assert path.stat().st_size < (15e6 if contract.precision == "fp16" else 30e6)


def test_one_training_has_one_id_in_every_precision(untrained, exported):
    model, of = checkpoint.trained(untrained)
    assert exported[1].model_id == onnx_export.model_id(model.query, of.name)
    with_other_weights = checkpoint.build(of)
    assert onnx_export.model_id(with_other_weights.query, of.name) != exported[1].model_id


def test_a_blank_picture_gives_numbers(exported):
    with open_engine(exported[0]) as engine:
        for level in (0, 255):
            assert np.isfinite(engine.run(np.full((1, 64, 64, 3), level, np.uint8))).all()


@pytest.mark.parametrize("cosine", [0.99, float("nan")])
def test_parity_that_fails_writes_nothing(untrained, tmp_path, monkeypatch, cosine):
    monkeypatch.setattr(onnx_export, "_to_onnx", lambda *_: b"")
    monkeypatch.setattr(onnx_export, "parity", lambda *_: {"min_cosine": cosine, "mean_cosine": 1.0})
    with pytest.raises(ModelError, match="parity failed"):
        export(untrained, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_refused_and_leaves_nothing(untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "parity", lambda *_: {"min_cosine": 1.0, "mean_cosine": 1.0})
    (tmp_path / "taken").mkdir()
    with pytest.raises(ModelError, match="cannot write"):
        export(untrained, tmp_path / "taken", precision="fp32")
    with pytest.raises(ModelError, match="cannot write"):
        export(untrained, tmp_path / "no-folder" / "x.onnx", precision="fp32")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_an_unknown_precision_is_refused(untrained, tmp_path):
    with pytest.raises(ModelError, match="known are fp16 and fp32"):
        export(untrained, tmp_path / "x.onnx", precision="int8")


def test_the_proof_is_on_ground_no_recipe_trains_on():
    for name in names():
        options = recipe(name).data.options
        assert onnx_export.PROOF_SEED not in (*options.get("train_seeds", ()), *options.get("val_seeds", ()))


def test_the_command_says_what_it_wrote(untrained, tmp_path, capsys):
    assert cli.main(["onnx", str(untrained), "-o", str(tmp_path / "x.onnx"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["contract"]["precision"] == "fp16" and report["parity"]["min_cosine"] >= 0.999
    assert 0 < report["size_mb"] < 15


@pytest.mark.parametrize("verb", [[], ["onnx"]])
def test_help_has_an_example_and_the_exit_codes(verb, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([*verb, "--help"])
    out = capsys.readouterr().out
    assert "example: pilotage-export onnx" in out and "exit codes:" in out


def test_a_missing_checkpoint_is_one_line_and_exit_2(tmp_path, capsys):
    assert cli.main(["onnx", str(tmp_path / "none.pt"), "-o", str(tmp_path / "x.onnx")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("pilotage-export: ") and err.count("\n") == 1


@pytest.mark.parametrize("module", ["torch", "timm"])
def test_a_missing_extra_is_the_pip_line_and_exit_1(module, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pilotage_trainer.extras.find_spec", lambda name: None if name == module else object())
    assert cli.main(["onnx", "x.pt", "-o", str(tmp_path / "x.onnx")]) == 1
    assert f"needs {module}: pip install 'pilotage[export]'" in capsys.readouterr().err


def test_two_branches_are_refused_in_a_line(tmp_path):
    of = recipe("frgeo-world")
    state = {"weights": checkpoint.build(of).state_dict(), "steps": 0}
    checkpoint.save(tmp_path / "x.pt", {"recipe": of.to_dict(), "preprocessing": checkpoint.preprocessing(of), **state})
    with pytest.raises(ModelError, match=r"frgeo-512 for ground views: only FRGeo with shared weights"):
        export(tmp_path / "x.pt", tmp_path / "x.onnx")
