"""The engine, on an encoder small enough to compute by hand."""

import numpy as np
import pytest

from pilotage.contract import METADATA_KEY, Contract
from pilotage.engine import OnnxEngine, open_engine
from pilotage.errors import EngineError, ModelError

pytest.importorskip("onnx", reason="writing a model takes the extra [export]")
from onnx import TensorProto, checker, helper, numpy_helper

SIDE, LENGTH = 6, 5
CONTRACT = Contract(
    model_id="tiny-0001",
    name="tiny",
    view="nadir",
    role="both",
    width=SIDE,
    height=SIDE,
    descriptor=LENGTH,
    ground_size_m=(40.0, 120.0),
    mean=(0.5, 0.25, 0.125),
    std=(0.25, 0.5, 1.0),
    precision="fp32",
)
WEIGHTS = np.random.default_rng(5).normal(size=(SIDE * SIDE * 3, LENGTH)).astype(np.float32)


def encode_slowly(images):
    """Return what the encoder below should: normalise, one matrix, unit rows."""
    pixels = (images / 255.0 - np.array(CONTRACT.mean)) / np.array(CONTRACT.std)
    rows = pixels.reshape(len(images), -1) @ WEIGHTS.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_model(metadata):
    """Return the bytes of an ONNX encoder with this metadata."""

    def constant(name, array):
        return numpy_helper.from_array(array, name)

    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["unit"]),
        helper.make_node("Sub", ["unit", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["rows"]),
        helper.make_node("LpNormalization", ["rows"], ["descriptors"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("descriptors", TensorProto.FLOAT, ["n", LENGTH])],
        [
            constant("white", np.float32(255.0).reshape(1)),
            constant("mean", np.array(CONTRACT.mean, np.float32)),
            constant("std", np.array(CONTRACT.std, np.float32)),
            constant("weights", WEIGHTS),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def model():
    return write_model({METADATA_KEY: CONTRACT.to_json()})


@pytest.fixture
def images():
    return np.random.default_rng(6).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)


def test_engine_reads_its_contract_out_of_the_model(model):
    with open_engine(model) as engine:
        assert engine.contract == CONTRACT


def test_engine_encodes(model, images):
    with OnnxEngine(model) as engine:
        descriptors = engine.run(images)
    assert descriptors.dtype == np.float32 and descriptors.shape == (4, LENGTH)
    assert descriptors == pytest.approx(encode_slowly(images), abs=1e-5)


def test_engine_encodes_one_as_it_encodes_many(model, images):
    with OnnxEngine(model, threads=2) as engine:
        together = engine.run(images)
        alone = np.concatenate([engine.run(images[i : i + 1]) for i in range(len(images))])
    assert alone == pytest.approx(together, abs=1e-6)


def test_engine_takes_a_file_as_it_takes_bytes(model, images, tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(model)
    with open_engine(path) as from_file, open_engine(model) as from_bytes:
        assert np.array_equal(from_file.run(images), from_bytes.run(images))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, SIDE, SIDE, 3), np.float32),
        np.zeros((SIDE, SIDE, 3), np.uint8),
        np.zeros((1, 3, SIDE, SIDE), np.uint8),
        np.zeros((1, SIDE, SIDE + 1, 3), np.uint8),
        np.zeros((1, SIDE, SIDE, 4), np.uint8),
    ],
)
def test_engine_refuses_images_of_another_kind(model, wrong):
    with OnnxEngine(model) as engine, pytest.raises(EngineError, match="encoder takes uint8"):
        engine.run(wrong)


def test_engine_names_the_backends_it_knows(model):
    with pytest.raises(EngineError, match="unknown engine 'abacus'; known are onnx"):
        open_engine(model, backend="abacus")


def test_engine_refuses_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match=r"missing\.onnx: no such model file"):
        open_engine(tmp_path / "missing.onnx")


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_engine_refuses_a_model_that_is_cut_short(model, keep, tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(model[: int(len(model) * keep)])
    with pytest.raises(ModelError, match=r"cut\.onnx: ONNX Runtime cannot load it") as caught:
        open_engine(path)
    assert "\n" not in str(caught.value)


def test_engine_refuses_a_model_that_is_not_ours():
    with pytest.raises(ModelError, match="the model inside the pack: not a Pilotage encoder"):
        open_engine(write_model({"author": "someone"}))


@pytest.mark.parametrize(
    "contract",
    [
        "",
        "[]",
        "{}",
        CONTRACT.to_json().replace('"view":"nadir"', '"view":"sideways"'),
        CONTRACT.to_json()[:-1] + ',"x":1}',
    ],
)
def test_engine_refuses_a_contract_that_it_cannot_read(contract):
    with pytest.raises(ModelError, match="contract"):
        open_engine(write_model({METADATA_KEY: contract}))


def test_engine_refuses_a_contract_of_a_later_format():
    later = CONTRACT.to_json().replace('"format":1', '"format":2')
    with pytest.raises(ModelError, match="format 2, this version reads 1: update pilotage"):
        open_engine(write_model({METADATA_KEY: later}))
