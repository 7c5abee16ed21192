"""Maps and flights trained on from the command line: found by folder, refused by name."""

import json
import re

import pytest

from pilotage.camera import Camera
from pilotage.errors import ModelError
from pilotage.flight import write_flight
from pilotage.picture import write_picture
from pilotage.world import FlightPlan, make_world, simulate
from pilotage.world.generate import WorldConfig
from pilotage_trainer import checkpoint, cli
from pilotage_trainer.data.kinds import Where, open_part
from pilotage_trainer.recipe import recipe

SMALL = ("views.query_px=[64,64]", "views.aerial_px=[64,64]", "model.backbone=test_resnet", "train.epochs=1")
SMALL += ("train.batch=4", "train.amp=off", "sampler.near=4", "sampler.pick=2", "data.options.ground_m=40.0")


@pytest.fixture(scope="module")
def region(tmp_path_factory):
    """A world's map as a picture with corners, twice the same flight over it, and a note nobody asked for."""
    folder = tmp_path_factory.mktemp("region")
    world = make_world(77, WorldConfig(size_m=800.0, gsd_m=1.0))
    (folder / "maps").mkdir()
    write_picture(folder / "maps" / "map.png", world.map_rgb)
    (folder / "maps" / "map.corners.json").write_text(json.dumps(world.corners()))
    (folder / "maps" / "notes.txt").write_text("flown on a Tuesday")
    camera = Camera.from_hfov(160, 120, hfov_deg=50.0)
    plan = FlightPlan.draw(world, 3, duration_s=30.0)
    write_flight(folder / "flights" / "morning", camera, list(simulate(world, plan, camera, seed=3))[::4])
    return folder


def run(recipe, data, out, cache, *changes):
    where = ["--data", str(data), "--out", str(out), "--cache", str(cache), "--threads", "1"]
    return cli.main(["run", recipe, *SMALL, *changes, *where])


@pytest.mark.parametrize("what", ["maps", "maps/map.png"])
def test_a_map_is_trained_on_from_its_file_or_its_folder(region, tmp_path, what, capsys):
    assert run("frgeo-map", region / what, tmp_path / "out", tmp_path, "data.options.errors.light=0.5") == 0
    row = json.loads((tmp_path / "out" / "validation.jsonl").read_text())
    assert 0 <= row["recall_at_1"] <= 1 and row["gallery"] > 10 and "within_5_m" in row
    assert "left out" in capsys.readouterr().err


def test_flights_are_trained_on_from_the_folder_that_holds_them(region, tmp_path):
    pair = f"data.options.map={region / 'maps' / 'map.png'}"
    assert run("frgeo-flight", region / "flights", tmp_path / "out", tmp_path, pair) == 0
    assert (tmp_path / "out" / "frgeo-flight.pt").is_file()


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        ("frgeo-map", ["data.options.pich_m=3"], "data set 'map' has no option 'pich_m'; it has ground_m"),
        ("frgeo-map", ["data.options.errors.lite=1"], "data.options.errors.lite is not known"),
        ("frgeo-flight", [], "a flight data set needs its map: data.options.map=FILE"),
    ],
)
def test_options_that_are_none_are_refused(region, tmp_path, capsys, recipe, changes, says):
    assert run(recipe, region / "maps", tmp_path / "out", tmp_path, *changes) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe_name", "change", "says"),
    [
        ("frgeo-world", "data.options.train_seeds=3", "data.options.train_seeds is 3: give a list"),
        ("frgeo-world", "data.options.train_seeds=[a]", "data.options.train_seeds is '[a]': give a list"),
        ("frgeo-world", "data.options.train_seeds=[]", "data.options.train_seeds is missing"),
        ("frgeo-world", "data.options.places=many", "data.options.places is 'many': give a int"),
        ("frgeo-world", "data.kind=map", "data set 'map' needs the option ground_m"),
        ("frgeo-map", "data.options.ground_m=wide", "data.options.ground_m is 'wide'"),
        ("frgeo-map", "data.options.paths=x", "data set 'map' has no option 'paths'"),
        ("frgeo-cvusa", "data.options.kind=x", "data set 'cvusa' has no option 'kind'; it has polar_files"),
        ("frgeo-cvusa", "data.options.polar_files=3", "data.options.polar_files is 3: give a bool"),
        ("frgeo-vigor", "data.options.polar_files=true", "'vigor' has no option 'polar_files'; it has none"),
        ("frgeo-world", "data.kind=maps", "data.kind is 'maps'; known are cvusa"),
        ("frgeo-map", "data.options.pitch_m=40", "holds no map (.tif"),
    ],
)
def test_options_are_checked_before_anything_is_read(tmp_path, recipe_name, change, says):
    of = recipe(recipe_name, [change])
    with pytest.raises(ModelError, match=re.escape(says)):
        open_part(of, of.data.train, where=Where(tmp_path, tmp_path), sizes=checkpoint.views(of))


def test_the_options_of_a_public_set_reach_it(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("pilotage_trainer.data.public.open_split", lambda *_, **options: asked.update(options) or 1 / 0)
    of = recipe("frgeo-cvusa", ["data.options.polar_files=true"])
    with pytest.raises(ZeroDivisionError):
        open_part(of, "train", where=Where(tmp_path, tmp_path), sizes=checkpoint.views(of))
    assert asked == {"polar_files": True}
