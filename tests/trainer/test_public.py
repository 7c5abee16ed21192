"""The public data sets on miniature look-alikes: right pairs, right places, and every kind of damage by name."""

import json
import shutil

import cv2
import numpy as np
import pytest
import scipy.io

from pilotage.errors import ModelError
from pilotage_trainer import cli
from pilotage_trainer.data.public import check, open_split
from pilotage_trainer.data.split import earth_xyz_m


def picture(path, seed=0, size=(8, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 2))


def lay_out_cvusa(root, train=(3, 1, 7), val=(2, 5)):
    for part, ids in (("train", train), ("val", val)):
        lines = []
        for i in ids:
            picture(root / f"bingmap/19/{i:07d}.jpg", i, (16, 16))
            picture(root / f"streetview/panos/{i:07d}.jpg", i)
            lines.append(f"bingmap/19/{i:07d}.jpg,streetview/panos/{i:07d}.jpg,streetview/annotations/{i:07d}.png")
        (root / "splits").mkdir(exist_ok=True)
        (root / f"splits/{part}-19zl.csv").write_text("\n".join(lines) + "\n")
    (root / "split_locations").mkdir()
    rows = [f"{40 + i / 100},{-80 - i / 100},{40 + i / 100 + 1e-4},{-80 - i / 100},0" for i in range(1, 9)]
    (root / "split_locations/all.csv").write_text("\n".join(rows) + "\n")
    return root


def lay_out_cvact(root, count=9):
    names = [f"pano{i}" for i in range(count)]
    utm = np.array([[690_000 + 40.0 * i, 6_090_000 + 3.0 * i] for i in range(count)])
    parts = {"trainSet": ("trainInd", [1, 3, 4]), "valSet": ("valInd", [2, 5]), "valSetAll": ("valInd", [2, 5, 9])}
    table = {"panoIds": np.array([[n] for n in names], dtype=object), "utm": utm}
    table |= {key: {field: np.array(rows)[:, None]} for key, (field, rows) in parts.items()}
    scipy.io.savemat(root / "ACT_data.mat", table)
    for folder in ("ANU_data_small", "ANU_data_test"):
        for i, name in enumerate(names):
            picture(root / folder / "streetview" / f"{name}_grdView.jpg", i)
            picture(root / folder / "satview_polish" / f"{name}_satView_polish.jpg", i, (16, 16))
    return root


CITIES = ("Chicago", "NewYork", "SanFrancisco", "Seattle")


def lay_out_vigor(root, tree="official"):
    for c, city in enumerate(CITIES):
        tiles = [f"satellite_{40 + c + t / 1000:.6f}_{-80 - c + t / 2000:.6f}.png" for t in range(6)]
        ground, satellite = (
            (f"{city}/panorama", f"{city}/satellite") if tree == "official" else (f"ground/{city}", f"satellite/{city}")
        )
        for t, tile in enumerate(tiles):
            picture(root / satellite / tile, 10 * c + t, (16, 16))
        panos = [f"p{c}{p},{40 + c}.0,{-80 - c}.0,.jpg" for p in range(4)]
        lines = []
        for p, pano in enumerate(panos):
            picture(root / ground / pano, 10 * c + p)
            around = [tiles[(p + k) % 5] for k in range(4)]  # the sixth tile has no query
            lines.append(" ".join([pano, *(f"{tile} {-30.5 + p} {20.0 * k - 60}" for k, tile in enumerate(around))]))
        splits = root / "splits" / city
        splits.mkdir(parents=True)
        (splits / "satellite_list.txt").write_text("\n".join(tiles) + "\n")
        (splits / "same_area_balanced_train.txt").write_text("\n".join(lines[:2]) + "\n")
        (splits / "same_area_balanced_test.txt").write_text("\n".join(lines[2:]) + "\n")
        (splits / "pano_label_balanced.txt").write_text("\n".join(lines) + "\n")
    return root


def lay_out_university(root):
    for building in (1, 4, 9):
        for k in range(3):
            picture(root / f"train/drone/{building:04d}/image-{k:02d}.jpeg", building)
        picture(root / f"train/satellite/{building:04d}/{building:04d}.jpg", building)
    for building in (2, 3):
        for k in range(2):
            picture(root / f"test/query_drone/{building:04d}/image-{k:02d}.jpeg", building)
        picture(root / f"test/query_satellite/{building:04d}/{building:04d}.jpg", building)
    for building in (2, 3, 8):  # the third is a distractor
        picture(root / f"test/gallery_satellite/{building:04d}/{building:04d}.jpg", building)
        for k in range(2):
            picture(root / f"test/gallery_drone/{building:04d}/image-{k:02d}.jpeg", building)
    return root


LAY_OUT = {"cvusa": lay_out_cvusa, "cvact": lay_out_cvact, "vigor": lay_out_vigor, "university": lay_out_university}


@pytest.fixture(params=LAY_OUT)
def laid_out(request, tmp_path):
    return request.param, LAY_OUT[request.param](tmp_path)


def test_a_whole_data_set_is_found_whole(laid_out):
    kind, root = laid_out
    findings = check(kind, root, decode=True)
    assert findings.ok and not findings.notes and findings.counts, findings.lines()


def test_an_unreadable_picture_is_found_only_by_decoding(laid_out):
    kind, root = laid_out
    victim = sorted(p for p in root.rglob("*.*") if p.suffix in (".jpg", ".jpeg", ".png"))[0]
    victim.write_bytes(b"not a picture")
    assert check(kind, root).ok
    findings = check(kind, root, decode=True)
    assert findings.faults == {"pictures that cannot be read": [str(victim)]}


def test_a_missing_folder_is_one_line(laid_out):
    kind, root = laid_out
    with pytest.raises(ModelError, match="no such folder"):
        check(kind, root / "none")
    assert not check(kind, root / "splits" if (root / "splits").is_dir() else root.parent / root.name / "..").ok


def test_cvusa_pairs_by_id_and_places_by_row(tmp_path):
    split, findings = open_split("cvusa", lay_out_cvusa(tmp_path), "train")
    assert split.query_id.tolist() == [3, 1, 7] == split.aerial_id.tolist()
    assert [split.query.name(0), split.aerial.name(0)] == [
        str(tmp_path / "streetview/panos/0000003.jpg"),
        str(tmp_path / "bingmap/19/0000003.jpg"),
    ]
    aerial, ground = (earth_xyz_m(np.array([40.03 + d]), np.array([-80.03])) for d in (0, 1e-4))
    assert np.allclose(split.aerial_xyz_m[0], aerial) and np.allclose(split.query_xyz_m[0], ground)
    assert np.linalg.norm(split.aerial_xyz_m[0] - split.query_xyz_m[0]) == pytest.approx(11.12, abs=0.01)
    assert findings.counts == {"train pairs": 3}


def test_cvusa_takes_ready_polar_tiles_when_asked(tmp_path):
    root = lay_out_cvusa(tmp_path)
    with pytest.raises(ModelError, match=r"3 aerial pictures missing: polarmap/19/0000003\.png"):
        open_split("cvusa", root, "train", polar_files=True)
    for i in (3, 1, 7):
        picture(root / f"polarmap/19/{i:07d}.png", i)
    split, _ = open_split("cvusa", root, "train", polar_files=True)
    assert split.aerial.name(2) == str(root / "polarmap/19/0000007.png")


def test_cvusa_without_positions_is_noted_and_goes_on(tmp_path):
    shutil.rmtree(lay_out_cvusa(tmp_path) / "split_locations")
    split, findings = open_split("cvusa", tmp_path, "val")
    assert split.query_xyz_m is None and list(findings.notes) == [
        "files of positions missing (no GPS sampling, no metres)"
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "bingmap/19/0000099.jpg,streetview/panos/0000099.jpg,x",
            r"1 aerial pictures missing: bingmap/19/0000099\.jpg",
        ),
        ("bingmap/19/0000003.jpg,streetview/panos/0000003.jpg,x", "ids named twice: splits/train-19zl.csv:4 and :1"),
        ("only-one-field", "1 lines that are not aerial,ground,annotation: splits/train-19zl.csv:4"),
        ("bingmap/19/abc.jpg,streetview/panos/abc.jpg,x", "lines that are not"),
        ("../../etc/0000009.jpg,streetview/panos/0000003.jpg,x", "not a path below the folder"),
        ("/etc/0000009.jpg,streetview/panos/0000003.jpg,x", "not a path below the folder"),
    ],
)
def test_cvusa_damage_is_named(tmp_path, line, says):
    root = lay_out_cvusa(tmp_path)
    with (root / "splits/train-19zl.csv").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(ModelError, match=says):
        open_split("cvusa", root, "train")


@pytest.mark.parametrize("row", ["nan,0,0,0", "91,0,0,0", "0,0,0,181", "a,b,c,d", "1,2"])
def test_cvusa_places_that_are_none_are_named(tmp_path, row):
    root = lay_out_cvusa(tmp_path)
    lines = (root / "split_locations/all.csv").read_text().splitlines()
    lines[6] = row
    (root / "split_locations/all.csv").write_text("\n".join(lines))
    with pytest.raises(ModelError, match=r"1 positions that are none: split_locations/all\.csv:7"):
        open_split("cvusa", root, "train")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00"])
def test_an_empty_or_binary_split_file_is_named(tmp_path, content):
    root = lay_out_cvusa(tmp_path)
    (root / "splits/val-19zl.csv").write_bytes(content)
    with pytest.raises(ModelError, match=r"val-19zl\.csv: (is empty|not a text file)"):
        open_split("cvusa", root, "val")


def test_cvact_counts_from_one(tmp_path):
    split, _ = open_split("cvact", lay_out_cvact(tmp_path), "train")
    assert [split.query.name(i).rsplit("/", 1)[1] for i in range(3)] == [f"pano{n}_grdView.jpg" for n in (0, 2, 3)]
    assert split.query_xyz_m[1].tolist() == [690_080.0, 6_090_006.0, 0.0]
    assert split.apart_m == 25.0
    test, _ = open_split("cvact", tmp_path, "test")
    assert test.query.name(2) == str(tmp_path / "ANU_data_test/streetview/pano8_grdView.jpg") and test.apart_m == 0


def test_cvact_leaves_out_a_few_absent_files_but_not_many(tmp_path):
    root = lay_out_cvact(tmp_path, count=400)
    table = scipy.io.loadmat(root / "ACT_data.mat")
    keep = {"panoIds": table["panoIds"], "utm": table["utm"]}
    sets = {
        key: {f: np.arange(1, 401)[:, None]}
        for key, f in (("trainSet", "trainInd"), ("valSet", "valInd"), ("valSetAll", "valInd"))
    }
    scipy.io.savemat(root / "ACT_data.mat", keep | sets)
    (root / "ANU_data_small/streetview/pano7_grdView.jpg").unlink()
    split, findings = open_split("cvact", root, "train")
    assert len(split.query) == 399 and 7 not in split.query_id
    assert findings.notes == {"pairs of train left out: a picture is absent": ["pano7"]}
    for i in range(20):
        (root / f"ANU_data_small/satview_polish/pano{i}_satView_polish.jpg").unlink()
    with pytest.raises(ModelError, match="20 of 400 pairs of train without both pictures"):
        open_split("cvact", root, "train")


@pytest.mark.parametrize("damage", ["garbage", "index", "nan", "name", "shape", "twice"])
def test_cvact_damage_is_named(tmp_path, damage):
    root = lay_out_cvact(tmp_path)
    table = {k: v for k, v in scipy.io.loadmat(root / "ACT_data.mat").items() if not k.startswith("__")}
    if damage == "index":
        table["trainSet"] = {"trainInd": np.array([[1], [10]])}
    if damage == "twice":
        table["trainSet"] = {"trainInd": np.array([[1], [1]])}
    if damage == "nan":
        table["utm"][0, 0] = np.nan
    if damage == "name":
        table["panoIds"][0, 0] = "../x"
    if damage == "shape":
        table["utm"] = table["utm"][:4]
    scipy.io.savemat(root / "ACT_data.mat", table)
    if damage == "garbage":
        (root / "ACT_data.mat").write_bytes(b"x" * 300)
    says = {
        "garbage": "not CVACT's table",
        "index": "1 indices out of range: 10",
        "nan": "1 positions that are none: pano0",
        "name": "not a path below the folder",
        "shape": "9 panoramas, but positions of shape",
        "twice": "1 ids named twice: 1",
    }
    with pytest.raises(ModelError, match=says[damage]):
        open_split("cvact", root, "train")


@pytest.mark.parametrize("tree", ["official", "sample4geo"])
@pytest.mark.parametrize(
    ("part", "cities", "queries"), [("same-train", 4, 8), ("cross-train", 2, 8), ("cross-test", 2, 8)]
)
def test_vigor_counts_tiles_that_nobody_asks_for(tmp_path, tree, part, cities, queries):
    split, _ = open_split("vigor", lay_out_vigor(tmp_path, tree), part)
    assert (len(split.query), len(split.aerial), split.semi_id.shape) == (queries, 6 * cities, (queries, 3))
    assert len(np.setdiff1d(split.aerial_id, split.query_id)) > 0
    for q in range(queries):
        named = [split.aerial.name(int(i)) for i in (split.query_id[q], *split.semi_id[q])]
        assert len(set(named)) == 4 and all(("Seattle" in n) == ("Seattle" in split.query.name(q)) for n in named)


def test_vigor_queries_stand_where_their_label_says(tmp_path):
    split, _ = open_split("vigor", lay_out_vigor(tmp_path), "same-train")
    line = (tmp_path / "splits/Chicago/same_area_balanced_train.txt").read_text().splitlines()[1].split()
    lat, lon = (float(v) for v in line[1].removesuffix(".png").split("_")[1:])
    d0, d1 = float(line[2]), float(line[3])
    # in pixels of the tile: right of the middle is east, below it is south, 0.114 m each
    column, row = 320 - d1, 320 + d0
    east_m, north_m = (column - 320) * 0.114, (320 - row) * 0.114
    expected = earth_xyz_m(
        np.array([lat + np.degrees(north_m / 6_371_004)]),
        np.array([lon + np.degrees(east_m / 6_371_004 / np.cos(np.radians(lat)))]),
    )
    # the loaders' half-widths are constants for one latitude: a few centimetres of a tile's 36 m
    assert np.linalg.norm(split.query_xyz_m[1] - expected) < 0.4
    assert np.linalg.norm(split.query_xyz_m[1] - split.aerial_xyz_m[split.query_id[1]]) < 36.5


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("p,1,2,.jpg too few", "1 label lines that cannot be read: splits/Seattle/same_area_balanced_test.txt:3"),
        ("p.jpg " + "satellite_1.0_2.0.png 1 2 " * 4, "label lines that cannot be read"),
        ("gone.jpg {t} 1 2 {t} 1 2 {t} 1 2 {t} 1 2", "1 panoramas missing: Seattle/panorama/gone.jpg"),
        ("p.jpg {t} nan 2 {t} 1 2 {t} 1 2 {t} 1 2", "label lines that cannot be read"),
        ("../../x.jpg {t} 1 2 {t} 1 2 {t} 1 2 {t} 1 2", "not a path below the folder"),
    ],
)
def test_vigor_damage_is_named(tmp_path, line, says):
    root = lay_out_vigor(tmp_path)
    tile = (root / "splits/Seattle/satellite_list.txt").read_text().splitlines()[0]
    with (root / "splits/Seattle/same_area_balanced_test.txt").open("a") as stream:
        stream.write(line.format(t=tile) + "\n")
    with pytest.raises(ModelError, match=says):
        open_split("vigor", root, "same-test")


def test_university_protocols_differ_by_the_distractors(tmp_path):
    root = lay_out_university(tmp_path)
    train, _ = open_split("university", root, "train")
    assert (len(train.query), len(train.aerial)) == (9, 3) and train.query_id.tolist() == [1] * 3 + [4] * 3 + [9] * 3
    there, _ = open_split("university", root, "drone-sat")
    few, _ = open_split("university", root, "drone-sat-701")
    back, _ = open_split("university", root, "sat-drone")
    assert (len(there.aerial), len(few.aerial)) == (3, 2)
    assert (len(back.query), len(back.aerial)) == (2, 6) and np.sum(back.aerial_id == back.query_id[0]) == 2


def test_university_damage_is_named(tmp_path):
    root = lay_out_university(tmp_path)
    shutil.rmtree(root / "train/satellite/0004")
    with pytest.raises(ModelError, match="1 buildings with queries and no reference: train/drone/0004"):
        open_split("university", root, "train")
    for path in (root / "test/query_drone/0002").iterdir():
        path.unlink()
    with pytest.raises(ModelError, match="1 folders of buildings without a picture: test/query_drone/0002"):
        open_split("university", root, "drone-sat")


def test_unknown_kinds_and_parts_name_the_known(tmp_path):
    with pytest.raises(ModelError, match="known are cvusa, cvact, vigor, university"):
        check("imagenet", tmp_path)
    with pytest.raises(ModelError, match="it has train, val"):
        open_split("cvusa", tmp_path, "test")


def test_the_check_speaks_to_people_and_machines(tmp_path, capsys):
    root = lay_out_cvusa(tmp_path)
    for i in (1, 3, 7):
        (root / f"streetview/panos/{i:07d}.jpg").unlink()
    assert cli.main(["check", "cvusa", "--data", str(root)]) == 2
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"cvusa in {root}: 3 train pairs, 2 val pairs"
    assert "FAULT: 3 panoramas missing: streetview/panos/0000003.jpg" in out
    assert cli.main(["check", "cvusa", "--data", str(root), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False and report["faults"]["panoramas missing"]["count"] == 3


@pytest.mark.parametrize("recipe", ["frgeo-cvusa", "frgeo-cvact", "frgeo-vigor", "msfa-cvusa", "saig-university"])
def test_a_public_recipe_trains_on_its_look_alike(tmp_path, recipe, capsys):
    root = LAY_OUT[recipe.partition("-")[2]](tmp_path / "data" if (tmp_path / "data").mkdir() is None else tmp_path)
    small = {
        "frgeo": "model.backbone=test_convnext3",
        "msfa": "model.backbone=test_resnet",
        "saig": "model.options.layers=1",
    }
    sizes = ["views.query_px=[64,128]", "views.aerial_px=[64,64]"]
    if recipe.startswith("msfa"):
        sizes[1] = "views.aerial_px=[64,128]"
    changes = [small[recipe.partition("-")[0]], *sizes, "model.pretrained=false", "train.epochs=1", "train.batch=2"]
    where = ["--data", str(root), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--threads", "1"]
    assert cli.main(["run", recipe, *where, *changes]) == 0, capsys.readouterr()
    rows = (tmp_path / "out" / "validation.jsonl").read_text().splitlines()
    assert rows and all(0 <= json.loads(row)["recall_at_1"] <= 1 for row in rows)


def test_a_checkpoint_is_measured_on_other_data_sets_too(tmp_path, capsys):
    for kind, lay_out in LAY_OUT.items():
        (tmp_path / kind).mkdir()
        lay_out(tmp_path / kind)
    small = [
        "model.backbone=test_convnext3",
        "model.pretrained=false",
        "views.query_px=[32,128]",
        "views.aerial_px=[64,64]",
    ]
    where = ["--data", str(tmp_path / "cvusa"), "--cache", str(tmp_path / "cache"), "--threads", "1"]
    run = ["run", "frgeo-cvusa", *small, "train.epochs=1", "train.batch=2", *where, "--out", str(tmp_path / "out")]
    assert cli.main(run) == 0
    path = str(tmp_path / "out" / "frgeo-cvusa.pt")
    expected = {
        "cvact": ["CVUSA val", "CVACT val", "CVACT test"],
        "vigor": ["CVUSA val", "VIGOR same-test"],
        "university": ["CVUSA val", "University-1652 drone-sat", "University-1652 sat-drone"],
    }
    for kind, names in expected.items():
        capsys.readouterr()
        assert cli.main(["eval", path, *where, "--cross", str(tmp_path / kind), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["set"] for row in rows] == names
        assert ("hit_rate" in rows[-1]) == (kind == "vigor") and ("average_precision" in rows[-1]) == (
            kind == "university"
        )
    assert cli.main(["eval", path, *where, "--cross", str(tmp_path / "cache")]) == 2
    assert "none of cvusa, cvact, vigor, university lies here" in capsys.readouterr().err
