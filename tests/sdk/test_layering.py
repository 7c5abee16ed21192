"""Who may import whom: one table, read off the syntax trees, so that a late import counts as much as an early one."""

import ast
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# package: (the folder it lives in, what it may import of ours, what it may import of others)
MAY_IMPORT = {
    "pilotage": (
        "sdk",
        set(),
        {"numpy", "cv2", "hnswlib", "onnxruntime", "cryptography", "rasterio"},
    ),
    "pilotage_bridge": (
        "firmware_bridge",
        {"pilotage"},
        {"numpy", "cv2", "pymavlink"},
    ),
    "pilotage_trainer": (
        "trainer",
        {"pilotage"},
        {"numpy", "cv2", "rasterio", "torch", "torchvision", "timm", "tomli", "scipy"},
    ),
    "pilotage_export": (
        "export",
        {"pilotage", "pilotage_trainer"},
        {"numpy", "cv2", "torch", "onnx", "onnxscript", "onnxruntime"},
    ),
}
NEVER_FLIES = {"torch", "torchvision", "timm", "onnx", "onnxscript"}
FLIES = ("pilotage", "pilotage_bridge")
FOLDERS = {folder for folder, _, _ in MAY_IMPORT.values()} | {"tests", "benchmarks"}
VAGUE = {"utils", "util", "common", "helpers", "base", "misc"}


def imported(source, package):
    """Return the (line, top-level module) of everything this source imports, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, package if node.level else node.module))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__", "require") and isinstance(node.args[0].value, str):
                found.append((node.lineno, node.args[0].value))
    return [(line, module.partition(".")[0]) for line, module in found]


def forbidden(source, package):
    """Return 'line: module' for everything that the table does not give this package."""
    _, ours, others = MAY_IMPORT[package]
    allowed = {package} | ours | others | sys.stdlib_module_names
    return [f"{line}: {module}" for line, module in imported(source, package) if module not in allowed]


def sources(package):
    return sorted((ROOT / MAY_IMPORT[package][0] / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_the_table_gives_them(package):
    assert sources(package)
    wrong = [
        f"{path.relative_to(ROOT)}:{found}"
        for path in sources(package)
        for found in forbidden(path.read_text(encoding="utf-8"), package)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "from torch import nn",
        "import torch.nn.functional as F",
        "def late():\n    import timm",
        "try:\n    import onnx\nexcept ImportError:\n    onnx = None",
        "if TYPE_CHECKING:\n    from torchvision import models",
        "importlib.import_module('torch.nn')",
        "torch = __import__('torch')",
        "require('onnx', extra='export', purpose='x')",
        "import pilotage_trainer.train",
        "from pilotage_bridge.link import Link",
        "import sdk.pilotage",
        "from firmware_bridge import pilotage_bridge",
    ],
)
def test_the_table_catches(source):
    assert forbidden(source, "pilotage")


@pytest.mark.parametrize(
    "source",
    [
        "import onnxruntime as ort",
        "from pilotage.engine.onnx import OnnxEngine",
        "from . import geo",
        "from .onnx import OnnxEngine",
        "import numpy as np, json",
        "importlib.import_module(f'pilotage.cli.{name}')",
        "engine.require(torch)",
    ],
)
def test_the_table_lets_pass(source):
    assert forbidden(source, "pilotage") == []


@pytest.mark.parametrize("package", FLIES)
def test_the_table_itself_keeps_torch_on_the_ground(package):
    _, ours, others = MAY_IMPORT[package]
    assert not others & NEVER_FLIES and ours <= set(FLIES)


def test_what_flies_depends_on_nothing_of_the_trainer():
    names = {d.replace(">", "=").partition("=")[0].strip() for d in PROJECT["project"]["dependencies"]}
    assert not names & (NEVER_FLIES | {"rasterio", "scipy", "pillow"})


def test_every_file_under_a_source_root_is_in_its_package():
    loose = [
        str(path.relative_to(ROOT))
        for package, (folder, _, _) in MAY_IMPORT.items()
        for path in (ROOT / folder).rglob("*.py")
        if ROOT / folder / package not in path.parents
    ]
    assert loose == [], "importable here and absent from the wheel"


def test_the_wheel_holds_the_four_packages_and_their_types():
    packages = {f"{folder}/{package}" for package, (folder, _, _) in MAY_IMPORT.items()}
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == packages
    assert [p for p in packages if not (ROOT / p / "py.typed").is_file()] == []


def test_folders_are_no_packages():
    assert [f for f in FOLDERS if (ROOT / f / "__init__.py").exists()] == []
    assert list((ROOT / "tests").rglob("__init__.py")) == [], (
        "a second copy of every class: see --import-mode=importlib"
    )
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for line, module in imported(path.read_text(encoding="utf-8"), folder)
        if module in FOLDERS
    ]
    assert wrong == []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_modules_are_named_for_what_they_hold(package):
    parts = {part for path in sources(package) for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not parts & VAGUE
