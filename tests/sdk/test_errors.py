"""One tree, drawn at its top; one line and an exit code at the command line."""

import argparse
import ast
import re
from importlib.metadata import metadata
from pathlib import Path

import pytest

from pilotage import cli, errors
from pilotage.cli.command import Command
from pilotage.errors import MissingExtraError, PilotageError, require

ROOT = Path(__file__).parents[2]


def family():
    return [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, PilotageError)]


def test_every_error_is_drawn_at_the_top():
    drawn = re.findall(r"^[├└]── (\w+)", errors.__doc__, flags=re.MULTILINE)
    assert sorted(drawn) == sorted(e.__name__ for e in family() if e is not PilotageError)


@pytest.mark.parametrize("error", family())
def test_errors_are_documented_and_exit_2_unless_an_extra_is_missing(error):
    assert error.__doc__
    assert error.exit_code == (1 if error is MissingExtraError else 2)


def test_errors_of_ours_stand_in_one_file():
    packages = [*ROOT.glob("sdk/*"), *ROOT.glob("firmware_bridge/*"), *ROOT.glob("trainer/*"), *ROOT.glob("export/*")]
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for package in packages
        for path in package.rglob("*.py")
        if path != ROOT / "sdk/pilotage/errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Error", "Exception"))
    ]
    assert wrong == []


def test_require_returns_what_is_there():
    assert require("json", extra="train", purpose="a test").__name__ == "json"


def test_require_says_which_extra_brings_what_is_not():
    with pytest.raises(MissingExtraError) as caught:
        require("no_such_module_anywhere", extra="train", purpose="pilotage-train")
    assert str(caught.value) == "pilotage-train needs no_such_module_anywhere: pip install 'pilotage[train]'"
    assert isinstance(caught.value.__cause__, ImportError)


def test_every_extra_that_a_message_names_exists():
    declared = set(metadata("pilotage").get_all("Provides-Extra"))
    named = {}
    for path in ROOT.glob("*/pilotage*/**/*.py"):
        text = path.read_text(encoding="utf-8")
        for extra in re.findall(r"""extra=["'](\w+)["']""", text) + re.findall(r"pilotage\[(\w+)\]", text):
            named.setdefault(extra, str(path.relative_to(ROOT)))
    assert named and {extra: where for extra, where in named.items() if extra not in declared} == {}


@pytest.fixture
def run(monkeypatch):
    """Run `pilotage fail`, a command that raises what it is given."""

    def run(error):
        def fail(arguments: argparse.Namespace) -> int:
            raise error

        command = Command("fail", "fail", lambda parser: None, fail)
        monkeypatch.setattr(cli, "commands", lambda: {"fail": command})
        return cli.main(["fail"])

    return run


@pytest.mark.parametrize("error", family())
def test_command_line_turns_a_refusal_into_one_line_and_a_code(error, run, capsys):
    assert run(error("town.tif: no such map: give a GeoTIFF")) == error.exit_code
    out, err = capsys.readouterr()
    assert (out, err) == ("", "pilotage: town.tif: no such map: give a GeoTIFF\n")


def test_command_line_stops_quietly_when_interrupted(run, capsys):
    assert run(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "pilotage: stopped\n"


def test_command_line_hides_no_bug_of_ours(run):
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError())
