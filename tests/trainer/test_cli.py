"""The command line: help with examples, one line for what is refused."""

import json

import pytest

from pilotage_trainer import cli, extras, train


@pytest.mark.parametrize("verb", [[], ["run"], ["models"], ["evaluate"]])
def test_help_has_an_example_and_the_exit_codes(verb, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([*verb, "--help"])
    out = capsys.readouterr().out
    assert f"example: pilotage-train {' '.join(verb)}" in out and "exit codes:" in out


def test_defaults_are_the_librarys(tmp_path):
    arguments = cli.parser().parse_args(["run", "--out", str(tmp_path)])
    config = train.RunConfig(out=tmp_path, cache=tmp_path)
    for name in ("minutes", "orthophotos", "orthophoto_gsd_m", "threads", "workers"):
        assert getattr(arguments, name) == getattr(config, name)


def test_models_for_machines(capsys):
    assert cli.main(["models", "--json"]) == 0
    row = next(row for row in json.loads(capsys.readouterr().out) if row["name"] == "nadir-512")
    assert row["descriptor"] == 512 and row["params_m"] < 7.5


@pytest.mark.parametrize("module", ["torch", "torchvision", "timm"])
def test_a_missing_extra_is_the_pip_line_and_exit_1(module, monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == module else object())
    assert cli.main(["models"]) == 1
    err = capsys.readouterr().err
    assert err == f"pilotage-train: pilotage-train needs {module}: pip install 'pilotage[train]'\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--out", "{tmp}/out", "--recipe", "no-such"],
        ["run", "--out", "{tmp}/file/out"],
        ["evaluate", "{tmp}/missing.pt"],
        ["evaluate", "{tmp}/file"],
    ],
)
def test_what_is_refused_is_one_line_and_exit_2(arguments, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"x")
    assert cli.main([a.format(tmp=tmp_path) for a in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("pilotage-train: ") and err.count("\n") == 1


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "soon"])
def test_minutes_that_are_none_are_refused(minutes, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", "--out", str(tmp_path), "--minutes", minutes])
    assert "--minutes" in capsys.readouterr().err


def test_orthophotos_that_are_no_folder_are_refused(tiny, tmp_path, world_cache, capsys):
    code = cli.main(
        ["run", "--recipe", "tiny", "--out", str(tmp_path), "--cache", str(world_cache), "--orthophotos", "/no/such"]
    )
    assert code == 2 and "no such folder of orthophotos" in capsys.readouterr().err


def test_evaluate_measures_what_it_is_given(tiny, run_config, unmeasured, capsys, monkeypatch):
    monkeypatch.delenv("PILOTAGE_REAL_DATA", raising=False)
    path = train.run(tiny, run_config(max_steps=1))
    capsys.readouterr()
    assert cli.main(["evaluate", str(path), "--cache", str(run_config().cache), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["set"] == "synthetic world 2000, tiles of 100 m every 20 m" and 0 <= row["recall_at_5_15m"] <= 1
