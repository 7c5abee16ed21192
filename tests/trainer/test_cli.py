"""The command line: help with examples, a recipe run and measured, one line for what is refused."""

import json
import subprocess
import sys

import pytest

from pilotage_trainer import cli, extras, train

SMALL = (
    "data.options.train_seeds=[1000]",
    "data.options.val_seeds=[2000]",
    "data.options.places=24",
    "data.options.world_size_m=300.0",
    "train.epochs=1",
    "train.batch=12",
)


@pytest.mark.parametrize("verb", [[], ["run"], ["models"], ["recipes"], ["check"], ["eval"]])
def test_help_has_an_example_and_the_exit_codes(verb, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([*verb, "--help"])
    out = capsys.readouterr().out
    assert f"example: pilotage-train {' '.join(verb)}" in out and "exit codes:" in out


def test_defaults_are_the_librarys(tmp_path):
    arguments = cli.parser().parse_args(["run", "frgeo-world"])
    config = train.RunConfig(out=tmp_path, cache=tmp_path)
    for name in ("device", "threads", "workers", "save_s", "data"):
        assert getattr(arguments, name) == getattr(config, name)


def test_help_needs_no_torch():
    code = "import sys; from pilotage_trainer import cli; cli.parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_models_for_machines(capsys):
    assert cli.main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    table = "frgeo frgeo-512 msfa saig-s-gap saig-s-smd saig-d-gap saig-d-smd sample4geo safa gap"
    assert list(rows) == table.split()
    assert {"params_m", "gmacs", "descriptor", "ground_px", "aerial_px", "source"} <= set(rows["msfa"])


def test_recipes_are_listed_and_shown_whole(capsys):
    assert cli.main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("nadir-512", "frgeo-cvusa", "saig-vigor", "sample4geo-university"))
    assert cli.main(["recipes", "frgeo-vigor"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["train"]["asam_rho"] == 2.5 and whole["views"]["query_px"] == [320, 640]


@pytest.mark.parametrize("module", ["torch", "torchvision", "timm"])
def test_a_missing_extra_is_the_pip_line_and_exit_1(module, monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == module else object())
    assert cli.main(["models"]) == 1
    err = capsys.readouterr().err
    assert err == f"pilotage-train: pilotage-train needs {module}: pip install 'pilotage[train]'\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "no-such"], "unknown recipe 'no-such'"),
        (["run", "frgeo-wrold"], "did you mean frgeo-world"),
        (["run", "frgeo-cvusa", "--out", "{tmp}/out"], "say where it lies with --data"),
        (["run", "frgeo-cvusa", "--data", "{tmp}", "--out", "{tmp}/out"], "{tmp}"),
        (["run", "frgeo-world", "train.lrr=1"], "did you mean train.lr?"),
        (["run", "frgeo-world", "train.lr=fast"], "give a float"),
        (["run", "frgeo-world", "--out", "{tmp}/file/out"], "file"),
        (["run", "nadir-512", "--data", "{tmp}/none", "--cache", "{tmp}", *SMALL[:1]], "no such folder of orthophotos"),
        (["eval", "{tmp}/missing.pt"], "missing.pt"),
        (["eval", "{tmp}/file"], "not a checkpoint"),
        (["check", "cvusa", "--data", "{tmp}/none"], "none"),
        (["check", "imagenet", "--data", "{tmp}"], "imagenet"),
    ],
)
def test_what_is_refused_says_why_and_exits_2(arguments, says, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"x")
    small = ["data.options.world_size_m=300.0"] if "nadir-512" in arguments else []
    assert cli.main([a.format(tmp=tmp_path) for a in arguments] + small) == 2
    out, err = capsys.readouterr()
    assert says.format(tmp=tmp_path) in (err if "check" not in arguments else err + out)


@pytest.mark.parametrize("rest", [["--no-such"], ["bare-word"]])
def test_what_is_no_change_is_refused(rest, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", "frgeo-world", "--out", "x", "train.lr=1e-3", *rest])
    assert rest[0] in capsys.readouterr().err


def test_a_recipe_runs_and_its_checkpoint_is_measured_and_reported(tmp_path, world_cache, capsys):
    run = ["run", "frgeo-world", *SMALL[:2], "--out", str(tmp_path / "run"), "--cache", str(world_cache)]
    assert cli.main([*run, "--threads", "1", *SMALL[2:]]) == 0  # changes before and after the options
    path = tmp_path / "run" / "frgeo-world.pt"
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    measure = ["eval", str(path), "--cache", str(world_cache), "--report", str(tmp_path / "report"), "--json"]
    assert cli.main(measure) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["set"] for row in rows] == ["world val"]
    assert 0 <= rows[0]["recall_at_1"] <= rows[0]["recall_at_10"] <= 1 and rows[0]["descriptor"] == 512
    page = (tmp_path / "report" / "report.html").read_text()
    assert "recall" in page.lower() and "http" not in page.replace("http://www.w3.org", "")
    assert cli.main(["eval", str(path), "--cache", str(world_cache), "--part", "train"]) == 0
    assert "world train: " in capsys.readouterr().out


def test_nadir_weights_are_measured_on_dense_galleries(tmp_path, world_cache, capsys, monkeypatch):
    monkeypatch.delenv("PILOTAGE_REAL_DATA", raising=False)
    small = [*SMALL[:2], "data.options.world_size_m=300.0", "data.options.ground_m=[40.0, 60.0]", "train.epochs=1"]
    tiny = ["data.options.steps_per_epoch=1", "views.query_px=[64, 64]", "views.aerial_px=[64, 64]", "train.batch=8"]
    where = ["--out", str(tmp_path), "--cache", str(world_cache), "--threads", "1"]
    assert cli.main(["run", "nadir-512", *where, *small, *tiny]) == 0
    capsys.readouterr()
    assert cli.main(["eval", str(tmp_path / "nadir-512.pt"), "--cache", str(world_cache), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["set"] == "synthetic world 2000, tiles of 100 m every 20 m" and 0 <= row["recall_at_5_15m"] <= 1
