"""Recipes: each one loads, builds its model and comes back from a checkpoint; what is misspelt is named."""

import re

import pytest
import torch

from pilotage.errors import ModelError
from pilotage_trainer import checkpoint
from pilotage_trainer.data.kinds import KINDS
from pilotage_trainer.losses import create_loss
from pilotage_trainer.recipe import Recipe, names, recipe


@pytest.mark.parametrize("name", names())
def test_a_recipe_is_whole(name):
    of = recipe(name)
    assert Recipe.from_dict(of.to_dict()) == of and of.name == name and of.source
    assert of.data.kind in KINDS and of.data.validate
    create_loss(of.loss.name, of.loss.options)
    with torch.device("meta"):
        model = checkpoint.build(of)
    query, aerial = checkpoint.views(of)
    assert model.descriptor >= 64 and query.height_px >= 32 and aerial.height_px >= 32


def test_there_is_a_recipe_for_every_system_and_data_set():
    systems, sets = (
        ("frgeo", "msfa", "saig", "sample4geo"),
        ("cvusa", "cvact", "vigor", "university", "map", "flight", "world"),
    )
    assert {f"{system}-{data}" for system in systems for data in sets} <= set(names())


def test_the_papers_hyper_parameters_are_there():
    s4g, frgeo, saig, msfa = (recipe(f"{n}-cvusa") for n in ("sample4geo", "frgeo", "saig", "msfa"))
    assert (s4g.train.batch, s4g.train.lr, s4g.train.epochs, s4g.train.clip_value) == (128, 1e-3, 40, 100.0)
    assert (s4g.sampler.near, s4g.sampler.pick, s4g.sampler.refresh_epochs) == (128, 64, 4)
    assert (frgeo.train.asam_rho, frgeo.train.lr, frgeo.train.schedule, frgeo.sampler.name) == (
        2.5,
        1e-4,
        "cosine-epoch",
        "global",
    )
    assert (saig.train.asam_rho, saig.train.epochs, saig.train.floor) == (2.0, 200, 1e-6)
    assert (msfa.cross_batch.name, msfa.cross_batch.batches, msfa.loss.name) == ("docb", 1000, "soft-margin")
    assert recipe("msfa-cvact").cross_batch.batches == 20 and recipe("frgeo-vigor").train.batch == 16


def test_a_file_extends_and_changes_go_on_top(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "frgeo-cvusa"\n[loss]\nname = "info-nce"\n[train]\nlr = 3e-4\n')
    of = recipe(
        str(path), ["train.batch=64", "data.options.polar_files=true", "views.fov_deg=90", "model.backbone=resnet18"]
    )
    assert (of.name, of.train.lr, of.train.batch, of.views.fov_deg) == ("mine", 3e-4, 64, 90.0)
    assert of.loss.options == {} and of.data.options == {"polar_files": True}  # alpha was WBL's
    assert of.train.asam_rho == 2.5 and of.model.backbone == "resnet18"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("train.lrr=1", "recipe key train.lrr is not known: did you mean train.lr?"),
        ("trane.lr=1", "recipe key trane is not known: did you mean train?"),
        ("train.lr", "is not of the form section.key=value"),
        ("train.lr=fast", "train.lr is 'fast': give a float"),
        ("train.batch=3.5", "train.batch is 3.5: give a int"),
        ("train.batch=true", "train.batch is True"),
        ("train=5", "train is a section"),
        ("views.query_px=[64]", "give 2 values"),
        ("views.query_px=64", "give a list"),
        ("model.options=3", "write model.options.key=value"),
        ("train.batch=1", "give 2 or more"),
        ("train.amp=fp8", "off, bf16 or fp16"),
        ("data.share=0", "give more than 0, at most 1"),
        ("augment.flip=2", "augment.flip is 2.0: give 0 to 1"),
        ("sampler.name=magic", "known are random"),
        ("views.query=up", "known are ground and nadir"),
        ("train.lr.x=3", "train.lr is {'x': 3}: give a float"),
        ("name.name=x", "recipe key name is {'name': 'x'}: give a str"),
        ("train.lr=nan", "finite"),
        ("train.lr=inf", "finite"),
        ("train.seed=-1", "train.seed is -1: give 0 or more"),
        ("train.ema=1.0", "0 <= ema < 1"),
        ("train.clip_norm=-1", "train.clip_norm is -1.0: give 0 or more"),
        ("sampler.pool=1", "give pool >= 2, top >= 1"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(change, says):
    with pytest.raises(ModelError, match=re.escape(says)):
        recipe("frgeo-world", [change])


def test_recipes_that_are_none(tmp_path):
    with pytest.raises(ModelError, match="did you mean frgeo-world"):
        recipe("frgeo-worlds")
    loop = tmp_path / "loop.toml"
    loop.write_text(f'extends = "{loop}"\n')
    with pytest.raises(ModelError, match="extends itself"):
        recipe(str(loop))
    broken = tmp_path / "broken.toml"
    broken.write_text("[train\n")
    with pytest.raises(ModelError, match="not a TOML file"):
        recipe(str(broken))
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="not a TOML file"):
        recipe(str(broken))


def test_options_stay_with_the_name_they_were_given_with():
    changes = ["loss.options.alpha=5.0", "loss.name=wbl"]
    one, two = recipe("frgeo-map", changes), recipe("frgeo-map", changes[::-1])
    assert one == two and one.loss.options == {"alpha": 5.0}
    assert recipe("frgeo-cvusa", ["loss.name=info-nce"]).loss.options == {}


def test_a_recipe_extends_the_file_beside_it_wherever_it_is_read_from(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "base.toml").write_text('extends = "frgeo-world"\n[train]\nlr = 3e-4\n')
    (tmp_path / "mine" / "top.toml").write_text('extends = "base.toml"\n[train]\nbatch = 8\n')
    monkeypatch.chdir(tmp_path)
    of = recipe("mine/top.toml")
    assert (of.train.lr, of.train.batch, of.name) == (3e-4, 8, "top")


def test_recipes_that_extend_one_another_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.toml").write_text('extends = "../a/two.toml"\n')
    (tmp_path / "a" / "two.toml").write_text('extends = "../a/one.toml"\n')
    with pytest.raises(ModelError, match=r"extends itself: .*one\.toml -> .*two\.toml -> .*one\.toml"):
        recipe(str(tmp_path / "a" / "one.toml"))
