"""Damage that would train silently wrong, or end in a traceback, is found and named."""

import cv2
import numpy as np
import pytest
import scipy.io

from pilotage.errors import ModelError
from pilotage_trainer.data.public import check, open_split
from pilotage_trainer.data.public.listing import Listing
from pilotage_trainer.data.public.lookalike import WRITERS

CSV, PLACES = "splits/train-19zl.csv", "split_locations/all.csv"
LABELS = "splits/Seattle/same_area_balanced_train.txt"


@pytest.fixture
def whole(tmp_path):
    """Return a maker of whole look-alikes: `whole("cvusa")` is its folder."""

    def make(kind, **options):
        folder = tmp_path / kind
        folder.mkdir()
        WRITERS[kind](folder, pairs=6, rng=np.random.default_rng(1), **options)
        return folder

    return make


def change(path, edit):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(edit(lines)) + "\n")


def replaced(line, old, new):
    assert old in line
    return line.replace(old, new)


def with_field(line, at, value):
    fields = line.split()
    fields[at] = value
    return " ".join(fields)


def test_cvusa_panoramas_that_are_swapped_are_found(whole):
    root = whole("cvusa")
    ids = open_split("cvusa", root, "train")[0].query_id
    one, other = (f"panos/{i:07d}" for i in ids[:2])
    change(root / CSV, lambda lines: [replaced(lines[0], one, other), replaced(lines[1], other, one), *lines[2:]])
    says = f"2 lines that pair two different ids: {CSV}:1 \\({ids[0]:07d}, {ids[1]:07d}\\)"
    with pytest.raises(ModelError, match=says):
        open_split("cvusa", root, "train")


def test_lines_are_counted_as_an_editor_counts_them(whole):
    root = whole("cvusa")
    change(root / CSV, lambda lines: ["", lines[0], "", "bad", *lines[1:]])
    assert check("cvusa", root).faults == {"lines that are not aerial,ground,annotation": [f"{CSV}:4"]}


def test_a_split_file_saved_by_a_spreadsheet_is_read(whole):
    root = whole("cvusa")
    before = open_split("cvusa", root, "train")[0].query_id
    (root / CSV).write_bytes(b"\xef\xbb\xbf" + (root / CSV).read_bytes().replace(b"\n", b"\r\n").replace(b",", b", "))
    assert np.array_equal(open_split("cvusa", root, "train")[0].query_id, before)


def test_a_file_without_a_folder_is_missing_and_not_refused(whole):
    root = whole("cvusa")
    change(root / CSV, lambda lines: [*lines, "0000099.jpg,0000099.jpg,x"])
    assert check("cvusa", root).faults == {
        "aerial pictures missing": ["0000099.jpg"],
        "panoramas missing": ["0000099.jpg"],
    }


@pytest.mark.parametrize("path", ["", "/", ".", "./.", "..", "a/../b", "/a", "//a", "a\\..\\b", "a\0b"])
def test_paths_that_lead_elsewhere_are_refused(whole, path):
    listing = Listing(whole("cvusa"))
    for ask in (listing.path, listing.has, listing.file, listing.lines):
        with pytest.raises(ModelError, match="not a path below the folder"):
            ask(path)


@pytest.mark.parametrize("stem", ["²²", "１２", "-3", "12345678901234567890", "", "0x1"])
def test_cvusa_ids_that_are_none_are_named(whole, stem):
    root = whole("cvusa")
    change(root / CSV, lambda lines: [*lines, f"bingmap/19/{stem}.jpg,streetview/panos/{stem}.jpg,x"])
    assert f"{CSV}:7" in check("cvusa", root).faults["lines that are not aerial,ground,annotation"]


@pytest.mark.parametrize(("at", "line"), [(0, "sat_lat,sat_lon,lat,lon,x"), (2, "")])
def test_cvusa_places_that_a_line_would_shift_are_refused(whole, at, line):
    root = whole("cvusa")
    change(root / PLACES, lambda lines: [*lines[:at], line, *lines[at:]])
    faults = check("cvusa", root).faults
    assert faults["headers or blank lines in a file that is read by line number"] == [f"{PLACES}:{at + 1}"]


def test_cvusa_places_that_end_too_soon_are_named(whole):
    root = whole("cvusa")
    change(root / PLACES, lambda lines: lines[:-6])
    assert all(name.startswith(f"{PLACES}:") for name in check("cvusa", root).faults["positions that are none"])


def table(root, **changes):
    found = {k: v for k, v in scipy.io.loadmat(root / "ACT_data.mat").items() if not k.startswith("__")}
    scipy.io.savemat(root / "ACT_data.mat", found | changes)


def test_cvact_counts_from_one_and_not_from_zero(whole):
    root = whole("cvact")
    mat = scipy.io.loadmat(root / "ACT_data.mat")
    index = mat["trainSet"]["trainInd"][0][0].ravel()
    split, _ = open_split("cvact", root, "train")
    for i, row in enumerate(index):
        assert split.query.name(i).endswith(f"{mat['panoIds'].ravel()[row - 1].item()}_grdView.jpg")
        assert split.query_xyz_m[i].tolist() == [*mat["utm"][row - 1], 0.0]
    table(root, trainSet={"trainInd": (index - 1)[:, None]})  # one who counted from 0
    faults = check("cvact", root).faults
    assert any("without both pictures" in why or why == "indices out of range" for why in faults)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trainSet": {"trainInd": np.zeros((0, 1))}}, "1 parts without a pair: train"),
        ({"trainSet": {"trainInd": np.array([[1.5], [2.0]])}}, "trainSet.trainInd holds 1.5, which is no index"),
        ({"trainSet": {"trainInd": np.array([[np.nan], [2.0]])}}, "trainSet.trainInd holds nan, which is no index"),
        ({"trainSet": {"trainInd": np.array([[0], [1]])}}, "1 indices out of range: 0"),
        ({"trainSet": {"other": np.array([[1]])}}, "not CVACT's table"),
        ({"utm": np.tile([-35.3, 149.1], (10, 1))}, "degrees, not metres"),
        ({"utm": np.full((10, 2), 2e7)}, "6 positions that are none"),
        ({"utm": np.full((10, 2), -np.inf)}, "6 positions that are none"),
    ],
)
def test_cvact_tables_that_would_train_wrong_are_refused(whole, changes, says):
    root = whole("cvact")
    table(root, **changes)
    with pytest.raises(ModelError, match=says):
        open_split("cvact", root, "train")


def test_a_cvact_table_without_the_test_part_still_trains(whole):
    root = whole("cvact")
    found = scipy.io.loadmat(root / "ACT_data.mat")
    scipy.io.savemat(root / "ACT_data.mat", {key: found[key] for key in ("panoIds", "utm", "trainSet", "valSet")})
    assert len(open_split("cvact", root, "train")[0].query) == 6
    with pytest.raises(ModelError, match=r"ACT_data\.mat: holds no valSetAll, the part 'test'"):
        open_split("cvact", root, "test")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.95])
def test_a_cvact_table_cut_short_is_one_line(whole, share):
    root = whole("cvact")
    content = (root / "ACT_data.mat").read_bytes()
    (root / "ACT_data.mat").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"ACT_data\.mat: not CVACT's table"):
        open_split("cvact", root, "train")
    assert not check("cvact", root).ok


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (2, "400.0", f"1 queries outside their own tile: {LABELS}:2"),
        (3, "inf", f"1 label lines that cannot be read: {LABELS}:2"),
        (12, "nan", f"1 label lines that cannot be read: {LABELS}:2"),
        (12, "1.0 2.0", f"1 label lines that cannot be read: {LABELS}:2"),
        (1, "satellite_0.0_0.0.png", f"1 label lines that cannot be read: {LABELS}:2"),
        (4, "the positive", f"1 label lines whose positive is a semi-positive too: {LABELS}:2"),
    ],
)
def test_vigor_labels_that_cannot_be_are_named(whole, at, value, says):
    root = whole("vigor")
    lines = (root / LABELS).read_text().splitlines()
    value = lines[1].split()[1] if value == "the positive" else value
    (root / LABELS).write_text("\n".join([lines[0], with_field(lines[1], at, value), *lines[2:]]))
    with pytest.raises(ModelError, match=says):
        open_split("vigor", root, "same-train")


def test_vigor_panoramas_named_twice_are_noted(whole):
    root = whole("vigor")
    change(root / LABELS, lambda lines: [*lines, lines[0]])
    split, findings = open_split("vigor", root, "same-train")
    assert findings.notes == {"panoramas named twice": [f"{LABELS}:4 and :1"]} and len(split.query) == 13


def test_a_file_that_several_parts_lack_is_named_once(whole):
    root = whole("vigor")
    victim = sorted((root / "Seattle/satellite").iterdir())[0]
    victim.unlink()
    assert check("vigor", root).faults == {"tiles missing": [f"Seattle/satellite/{victim.name}"]}


def test_university_notes_buildings_without_a_drone_and_skips_what_is_none(whole):
    root = whole("university")
    for name in ("9999", "²", "notes"):
        (root / f"train/satellite/{name}").mkdir()
    picture = next((root / "train/satellite").rglob("*.jpg"))
    (root / "train/satellite/9999/9999.jpg").write_bytes(picture.read_bytes())
    split, findings = open_split("university", root, "train")
    assert findings.notes == {"buildings that no query shows": ["train/satellite/9999"]}
    assert (len(split.aerial), 9999 in split.aerial_id) == (7, True)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("cvusa", "streetview"),
        ("cvusa", "splits"),
        ("cvact", "ACT_data.mat"),
        ("vigor", "Seattle"),
        ("university", "test"),
    ],
)
def test_links_that_lead_out_of_the_folder_are_refused(whole, tmp_path, kind, what):
    root = whole(kind)
    (root / what).rename(tmp_path / "elsewhere")
    (root / what).symlink_to(tmp_path / "elsewhere")
    findings = check(kind, root)
    assert not findings.ok and "a symbolic link leads out of" in "\n".join(findings.lines())


def test_a_picture_that_is_a_link_out_is_refused_and_one_inside_is_not(whole, tmp_path):
    root = whole("cvusa")
    first, second, *_ = sorted((root / "streetview/panos").iterdir())
    first.unlink()
    first.symlink_to(second)
    assert check("cvusa", root).ok
    first.unlink()
    (tmp_path / "secret").write_text("not yours")
    first.symlink_to(tmp_path / "secret")
    assert "a symbolic link leads out of" in "\n".join(check("cvusa", root).lines())
    first.unlink()
    first.symlink_to(first)
    assert not check("cvusa", root).ok


def test_the_folder_itself_may_be_a_link(whole, tmp_path):
    (tmp_path / "short").symlink_to(whole("cvusa"))
    assert check("cvusa", tmp_path / "short").ok


def test_decoding_finds_a_jpeg_cut_short_though_it_decodes(whole):
    root = whole("cvusa")
    victim, padded, *_ = sorted((root / "streetview/panos").iterdir())
    victim.write_bytes(victim.read_bytes()[:-40])
    padded.write_bytes(padded.read_bytes() + bytes(100))
    assert cv2.imread(str(victim)) is not None and check("cvusa", root).ok
    assert check("cvusa", root, decode=True).faults == {"pictures cut short": [str(victim)]}


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0" + bytes(5000)])
def test_decoding_finds_what_is_no_picture(whole, content):
    root = whole("university")
    victim = next((root / "test/query_drone").rglob("*.jpeg"))
    victim.write_bytes(content)
    assert check("university", root, decode=True).faults == {"pictures that cannot be read": [str(victim)]}
