"""Packs that were damaged, or made to mislead: every byte counts and every refusal is one line."""

import io
import json
import os
import zipfile

import numpy as np
import pytest

from pilotage.contract import Contract
from pilotage.errors import PackError
from pilotage.geo import LocalFrame
from pilotage.maps import Bounds
from pilotage.pack import BuildConfig, RegionPack, build_pack
from pilotage.pack.container import Container, sha256_of, write_container
from pilotage.pack.layout import Slot, directory, place
from pilotage.pack.region import TILE_DTYPE
from pilotage.testing import FAKE_CONTRACT, FakeEngine

CONFIG = BuildConfig(tile_m=64.0, stride_m=32.0)


class NoiseMap:
    """A map of noise with a hole, as an array."""

    gsd_m = 0.5

    def __init__(self, rows=300, columns=600):
        frame = LocalFrame(47.0, 8.0)
        north, east = frame.to_wgs84(rows / 4, columns / 4)
        south, west = frame.to_wgs84(-rows / 4, -columns / 4)
        self.bounds = Bounds(north, west, south, east)

    def read(self, frame, *, top_north_m, left_east_m, rows, columns, gsd_m):
        rng = np.random.default_rng(round(top_north_m))
        valid = np.ones((rows, columns), bool)
        valid[:30, :30] = False
        return rng.integers(0, 255, (rows, columns, 3), dtype=np.uint8), valid

    def close(self):
        pass


def build(path, *, engine=None, source=None, **options):
    given = {"model": b"fake" * 50, "name": "fake", "config": CONFIG, **options}
    build_pack(source or NoiseMap(), path, engine=engine or FakeEngine(), **given)
    return path


@pytest.fixture(scope="module")
def pack_file(tmp_path_factory):
    return build(tmp_path_factory.mktemp("pack") / "good.region")


def refusal(path):
    with pytest.raises(PackError) as caught:
        RegionPack.open(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def spans(path):
    """Yield (name, header, data, end) of every member."""
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name_length, extra_length = np.frombuffer(whole, "<u2", 2, info.header_offset + 26)
            data = info.header_offset + 30 + int(name_length) + int(extra_length)
            yield info.filename, info.header_offset, data, data + info.file_size


def test_pack_notices_a_flip_of_any_byte_in_it(pack_file, tmp_path):
    whole = bytearray(pack_file.read_bytes())
    offsets = {0, len(whole) - 1, *range(0, len(whole), 397)}
    for _, header, data, end in spans(pack_file):
        offsets |= {*range(header, data, 5), data, end - 1}
    last = max(end for *_, end in spans(pack_file))
    offsets |= set(range(last, len(whole), 3))
    bad = tmp_path / "bad.region"
    bad.write_bytes(whole)
    with bad.open("r+b") as file:
        for offset in sorted(offsets):
            os.pwrite(file.fileno(), bytes([whole[offset] ^ 0x01]), offset)
            refusal(bad)
            os.pwrite(file.fileno(), whole[offset : offset + 1], offset)
    RegionPack.open(bad).close()
    assert len(offsets) > 800


def test_pack_names_the_member_that_was_altered(pack_file, tmp_path):
    whole = pack_file.read_bytes()
    bad = tmp_path / "bad.region"
    for name, _, data, end in spans(pack_file):
        changed = bytearray(whole)
        changed[(data + end) // 2] ^= 0x40
        bad.write_bytes(changed)
        assert f"{name!r} was altered" in refusal(bad)


@pytest.mark.parametrize("where", ["between members", "before the directory", "after the end", "before the start"])
def test_pack_hides_nothing_between_its_members(pack_file, tmp_path, where):
    whole, bad = pack_file.read_bytes(), tmp_path / "bad.region"
    members = [(name, whole[data:end]) for name, _, data, end in spans(pack_file)]
    if where in ("after the end", "before the start"):
        bad.write_bytes(b"x" * 64 + whole if where == "before the start" else whole + b"x" * 64)
    else:
        slots, at = [], 0
        for position, (name, data) in enumerate(members):
            slots.append(Slot(name, len(data), at))
            gap = 64 if where == "between members" and position == 3 else 0
            at = slots[-1].end + gap
        crcs = [info.CRC for info in zipfile.ZipFile(pack_file).infolist()]
        out = bytearray(slots[-1].end + (64 if where == "before the directory" else 0))
        for slot, crc, (_, data) in zip(slots, crcs, members, strict=True):
            out[slot.header_at : slot.end] = slot.local_header(crc) + data
        tail = bytearray(directory(slots, crcs))
        tail[-6:-2] = len(out).to_bytes(4, "little")
        bad.write_bytes(out + tail)
        assert zipfile.ZipFile(bad).testzip() is None  # an honest ZIP, and yet no pack
    refusal(bad)


def test_pack_that_was_packed_again_is_refused(pack_file, tmp_path):
    again = tmp_path / "again.region"
    with zipfile.ZipFile(pack_file) as source, zipfile.ZipFile(again, "w") as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    assert "packed again" in refusal(again)


def rebuilt(pack_file, folder, *, manifest=None, members=None, drop=()):
    """Write the pack again with other contents, every hash and header in order."""

    class Text:
        def to_bytes(self):
            return json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()

    container = Container(pack_file)
    raw = json.loads(container.manifest_bytes)
    files = {}
    for name in [name for name in raw["members"] if name not in drop] + list(members or {}):
        files[name] = folder / "parts" / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_bytes((members or {}).get(name) or container.view(name))
    raw["members"] = {
        name: {"size": member.size, "sha256": member.sha256}
        for name, file in files.items()
        for member in [sha256_of(file)]
    }
    raw.update(manifest or {})
    write_container(folder / "lie.region", Text(), files)
    return folder / "lie.region"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pack_version": "/../../../evil"}, "pack_version is '/../../../evil', not int"),
        ({"pack_version": True}, "pack_version is 'True', not int"),
        ({"name": ["x"]}, "name is \"\\['x'\\]\", not str"),
        ({"name": "two\nlines"}, "name is 'two\\\\nlines', not str"),
        ({"tile_m": 10**400}, "tile_m is '1000"),
        ({"tiles": 1.5}, "tiles is '1.5', not int"),
        ({"north": float("nan")}, "the region lies at north nan"),
        ({"north": -80.0}, "the region lies at"),
        ({"origin_lat_deg": 900.0}, "its origin 900.0, .* is outside"),
        ({"map_rows": 10**9}, "map block of .* is missing"),
        ({"map_top_north_m": 0.0}, "tiles that do not lie on its map"),
        ({"format": 2}, "pack format 2, this version reads 1: update pilotage"),
    ],
)
def test_pack_refuses_a_manifest_that_lies_though_every_hash_holds(pack_file, tmp_path, change, message):
    path = rebuilt(pack_file, tmp_path, manifest=change)
    with pytest.raises(PackError, match=message):
        RegionPack.open(path)
    refusal(path)


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def test_pack_refuses_tables_that_lie_though_every_hash_holds(pack_file, tmp_path):
    with RegionPack.open(pack_file) as pack:
        descriptors = np.array(pack.descriptors)
        tiles = np.frombuffer(pack._container.view("tiles.npy")[-len(pack) * TILE_DTYPE.itemsize :], TILE_DTYPE).copy()
    cases = []
    for value in (np.nan, np.inf):
        changed = descriptors.copy()
        changed[-1, 7] = value
        cases.append(("descriptors.npy", npy(changed), "descriptors that are not finite"))
    cases.append(("descriptors.npy", npy(descriptors[:-1]), "is float16"))
    cases.append(("descriptors.npy", npy(descriptors.astype(np.float32)), "is float32"))
    cases.append(("descriptors.npy", npy(np.asfortranarray(descriptors)), "is float16"))
    cases.append(("descriptors.npy", npy(descriptors.astype(object)), "is object"))
    cases.append(("descriptors.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': (((" + b" " * 200, "is not an array"))
    for column, value in (("lat", np.nan), ("lat", 47.1), ("row", -1), ("row", 2**31 - 1), ("column", 10**6)):
        changed = tiles.copy()
        changed[column][3] = value
        cases.append(("tiles.npy", npy(changed), "tiles that do not lie on its map"))
    for number, (name, data, message) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert message in refusal(rebuilt(pack_file, folder, members={name: data}))


@pytest.mark.parametrize("name", ["descriptors.npy", "tiles.npy", "map/0000_0000.jpg"])
def test_pack_refuses_to_open_without_a_member_it_needs(pack_file, tmp_path, name):
    assert "is missing" in refusal(rebuilt(pack_file, tmp_path, drop=[name]))


@pytest.mark.parametrize("name", ["signatures.json", "manifest.json"])
def test_pack_refuses_a_manifest_that_hashes_itself(pack_file, tmp_path, name):
    raw = json.loads(Container(pack_file).manifest_bytes)
    raw["members"][name] = {"size": 2, "sha256": "0" * 64}
    path = rebuilt(pack_file, tmp_path, manifest={"members": raw["members"]})
    assert "has no place in a region pack" in refusal(path)


def test_pack_gives_holes_in_its_map_as_fill(pack_file):
    with RegionPack.open(pack_file) as pack:
        window, valid = pack.map_window(0, 0, 60, 60)
        assert not valid[:30, :30].any()
        assert np.ptp(window[:30, :30].reshape(-1, 3), axis=0).max() == 0


def test_layout_of_a_pack_beyond_4_gib_is_one_that_zip_readers_know(tmp_path):
    sizes = [("manifest.json", 700), ("descriptors.npy", 3 << 30), ("map/0000_0000.jpg", 5 << 30), ("tiles.npy", 91)]
    slots = place(sizes)
    assert all(slot.data_at % 64 == 0 for slot in slots)
    path = tmp_path / "sparse.zip"
    with path.open("wb") as out:  # no bytes but the headers: a hole costs nothing
        for slot in slots:
            out.seek(slot.header_at)
            out.write(slot.local_header(0))
            assert out.tell() == slot.data_at
        out.seek(slots[-1].end)
        out.write(directory(slots, [0] * len(slots)))
    with zipfile.ZipFile(path) as archive:
        assert [(info.filename, info.file_size) for info in archive.infolist()] == sizes
        assert [info.header_offset for info in archive.infolist()] == [slot.header_at for slot in slots]
        for info in archive.infolist():
            archive.open(info).close()


def test_layout_of_very_many_members_is_one_that_zip_readers_know():
    slots = place((f"map/{number:06d}.jpg", 1) for number in range(70_000))
    out = bytearray(slots[-1].end) + directory(slots, [0] * len(slots))
    with zipfile.ZipFile(io.BytesIO(out)) as archive:
        assert len(archive.infolist()) == 70_000


def test_build_refuses_an_encoder_whose_numbers_are_not_finite(tmp_path):
    class Broken(FakeEngine):
        def run(self, images):
            return super().run(images) * np.float32("nan")

    with pytest.raises(PackError, match="fake gives numbers that are not finite"):
        build(tmp_path / "a.region", engine=Broken())
    assert list(tmp_path.iterdir()) == []


def test_build_refuses_an_encoder_of_another_view(tmp_path):
    raw = json.loads(FAKE_CONTRACT.to_json())
    contract = Contract.from_json(json.dumps({**raw, "view": "ground", "width": 512}), source="test")
    with pytest.raises(PackError, match="takes ground pictures of 512x128 px"):
        build(tmp_path / "a.region", engine=FakeEngine(contract))


def test_build_says_in_one_line_that_the_disk_is_full_wherever_it_fills(tmp_path, monkeypatch):
    """Fail every file the build writes, one after the other."""
    from pathlib import Path

    calls = {"left": 0}

    def counting(real):
        def call(*arguments, **options):
            calls["left"] -= 1
            if calls["left"] == 0:
                raise OSError(28, "No space left on device")
            return real(*arguments, **options)

        return call

    monkeypatch.setattr(Path, "write_bytes", counting(Path.write_bytes))
    monkeypatch.setattr(np, "save", counting(np.save))
    monkeypatch.setattr(os, "fsync", counting(os.fsync))
    for number in range(1, 50):
        calls["left"] = number
        try:
            build(tmp_path / "a.region")
            break
        except PackError as error:
            assert "a.region: cannot write the pack (No space left on device)" in str(error)
            assert not [p for p in tmp_path.iterdir() if p.name != "a.region"]
    assert 5 < number < 20
    RegionPack.open(tmp_path / "a.region").close()


def test_build_refuses_a_folder_as_its_output(tmp_path):
    (tmp_path / "a.region").mkdir()
    with pytest.raises(PackError, match="is a folder"):
        build(tmp_path / "a.region")
