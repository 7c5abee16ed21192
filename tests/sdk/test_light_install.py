"""What `pip install pilotage` brings is enough to fly: everything else is hidden from a fresh interpreter.

The hidden modules are computed: whatever is installed here and is not reached from the dependencies without extras.
They are hidden as if they were not there, so that both `import` and `find_spec` say so.
"""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEAVY = {"torch", "torchvision", "timm", "onnx", "onnxscript", "rasterio"}
HIDE = """
import json, sys
from importlib.machinery import PathFinder
HIDDEN = set(json.loads(sys.argv.pop(1)))
class Light(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else super().find_spec(name, path, target)
BEFORE = set(sys.modules)  # what a .pth file of the environment imported before us
sys.meta_path = [Light if finder is PathFinder else finder for finder in sys.meta_path]
"""
IMPORT_ALL = """
import importlib, pkgutil
import pilotage, pilotage_bridge
for package in (pilotage, pilotage_bridge):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            print(module.name)
seen = HIDDEN & (set(sys.modules) - BEFORE)
assert not seen, seen
"""
HELP_OF_ALL = """
import argparse
from pilotage.cli import main, parser
def walk(parser, path):
    yield path
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from walk(sub, [*path, name])
for path in walk(parser(), []):
    try:
        main([*path, "--help"])
    except SystemExit as stop:
        assert stop.code == 0, path
seen = HIDDEN & (set(sys.modules) - BEFORE)
assert not seen, seen
"""
OPEN_MAP = """
from pathlib import Path
from pilotage.errors import MissingExtraError
from pilotage.maps import open_map
try:
    open_map(Path(sys.argv[1]))
except MissingExtraError as error:
    print(error)
"""
CALL = "from {module} import main; sys.exit(main(sys.argv[1:]))"


def light_distributions():
    """Return the names of everything that `pip install pilotage` brings, itself included."""
    found, ahead = set(), ["pilotage"]
    while ahead:
        name = canonicalize_name(ahead.pop())
        if name in found:
            continue
        found.add(name)
        try:
            wanted = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:  # for another platform
            continue
        ahead += [r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def hidden():
    light = light_distributions()
    assert not light & HEAVY
    return HEAVY | {
        module
        for module, names in packages_distributions().items()
        if not any(canonicalize_name(name) in light for name in names)
    }


@pytest.fixture
def light(hidden):
    """Run Python code, with arguments, where only the light install can be imported."""

    def run(code, *arguments, also_hidden=()):
        blocked = json.dumps(sorted(hidden | set(also_hidden)))
        command = [sys.executable, "-c", HIDE + code, blocked, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_what_is_hidden_looks_as_if_it_were_not_there(light):
    done = light(
        "from importlib.util import find_spec; print(find_spec('torch'), find_spec('numpy') is None); import onnx"
    )
    assert done.stdout == "None False\n" and "ModuleNotFoundError: No module named 'onnx'" in done.stderr


def test_every_module_that_flies_imports_in_a_light_install(light):
    done = light(IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert {"pilotage.localise", "pilotage.cli.locate", "pilotage_bridge.gps_input"} <= set(done.stdout.split())


def test_every_module_that_flies_imports_without_hnswlib(light):
    done = light(IMPORT_ALL, also_hidden=["hnswlib"])
    assert done.returncode == 0, done.stderr


def test_every_verb_helps_in_a_light_install(light):
    done = light(HELP_OF_ALL)
    assert done.returncode == 0, done.stderr
    for usage in ("pilotage [-h]", "pilotage pack build", "pilotage locate", "pilotage demo", "pilotage listen"):
        assert f"usage: {usage}" in done.stdout


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("pilotage_trainer.cli", ["models"], "train"),
        ("pilotage_trainer.cli", ["run", "frgeo-world", "--out", "runs/never"], "train"),
        ("pilotage_export.cli", ["onnx", "none.pt", "-o", "none.onnx"], "export"),
    ],
)
def test_a_missing_extra_is_one_line_and_exit_1(module, arguments, extra, light):
    done = light(CALL.format(module=module), *arguments)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.count("\n") == 1 and f"pip install 'pilotage[{extra}]'" in done.stderr


@pytest.mark.parametrize("module", ["pilotage_trainer.cli", "pilotage_export.cli"])
def test_the_other_commands_help_in_a_light_install(module, light):
    done = light(CALL.format(module=module), "--help")
    assert done.returncode == 0 and "example:" in done.stdout and done.stderr == ""


def test_a_geotiff_in_a_light_install_names_the_extra(light, tmp_path):
    (tmp_path / "town.tif").write_bytes(b"II*\x00")
    done = light(OPEN_MAP, str(tmp_path / "town.tif"))
    assert done.stdout == "reading a GeoTIFF needs rasterio: pip install 'pilotage[maps]'\n", done.stderr
