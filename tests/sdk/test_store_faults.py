"""The store after damage: a pack that rotted, a copy that came out wrong, a rollback that was cut, a failing disk."""

import errno
import json
import os

import numpy as np
import pytest

from pilotage.cli import main
from pilotage.errors import PackError, StoreError
from pilotage.geo import LocalFrame
from pilotage.maps import Bounds
from pilotage.pack import BuildConfig, RegionPack, build_pack
from pilotage.store import Store
from pilotage.testing import FakeEngine


class NoiseMap:
    gsd_m = 0.5

    def __init__(self):
        frame = LocalFrame(47.0, 8.0)
        north, east = frame.to_wgs84(50, 50)
        south, west = frame.to_wgs84(-50, -50)
        self.bounds = Bounds(north, west, south, east)

    def read(self, frame, *, top_north_m, left_east_m, rows, columns, gsd_m):
        return np.random.default_rng(0).integers(0, 255, (rows, columns, 3), np.uint8), np.ones((rows, columns), bool)

    def close(self):
        pass


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    for version in (1, 2):
        build_pack(
            NoiseMap(),
            folder / f"v{version}.region",
            engine=FakeEngine(),
            model=b"fake",
            name="town",
            pack_version=version,
            config=BuildConfig(tile_m=64.0, stride_m=64.0),
        )
    return [folder / "v1.region", folder / "v2.region"]


def version_of(path):
    with RegionPack.open(path) as pack:
        return pack.manifest.pack_version


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_store_stores_a_pack_again_that_rotted(tmp_path, packs):
    store = Store(tmp_path)
    flip(store.install(packs[0]).path)
    with pytest.raises(PackError):
        version_of(store.current())
    store.install(packs[0])
    assert version_of(store.current()) == 1


def test_store_does_not_activate_a_copy_that_is_another_pack(tmp_path, packs, monkeypatch):
    store = Store(tmp_path)
    store.install(packs[0])
    swapped = tmp_path / "swapped.region"
    swapped.write_bytes(packs[1].read_bytes())
    space = Store._check_space
    monkeypatch.setattr(
        Store, "_check_space", lambda self, source: (space(self, source), source.write_bytes(packs[0].read_bytes()))
    )
    with pytest.raises(StoreError, match="the copy is not what was sent"):
        store.install(swapped)
    assert version_of(store.current()) == 1
    assert not list((tmp_path / "staging").iterdir())


def test_store_does_not_activate_a_copy_that_came_out_wrong(tmp_path, packs, monkeypatch):
    store = Store(tmp_path)
    store.install(packs[0])
    fsync = os.fsync

    def losing(handle):
        if os.fstat(handle).st_size > 5000 and "staging" in os.readlink(f"/proc/self/fd/{handle}"):
            os.truncate(handle, 5000)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", losing)
    with pytest.raises(StoreError, match="the copy is not what was sent"):
        store.install(packs[1])
    assert version_of(store.current()) == 1
    assert not list((tmp_path / "staging").iterdir())


class PowerCut(BaseException):
    """Nothing catches it."""


def cut_after(monkeypatch, count, names=("fsync", "open", "rename", "unlink", "symlink", "readlink")):
    left = {"calls": count}

    def cutting(real):
        def call(*arguments, **options):
            if left["calls"] == 0:
                raise PowerCut
            left["calls"] -= 1
            return real(*arguments, **options)

        return call

    for name in names:
        monkeypatch.setattr(os, name, cutting(getattr(os, name)))


def test_store_rolled_back_has_a_good_pack_wherever_the_power_goes_and_never_forgets_the_way_back(
    tmp_path, packs, monkeypatch
):
    count, finished, seen = 0, False, set()
    while not finished:
        root = tmp_path / str(count)
        for pack in packs:
            Store(root).install(pack)
        cut_after(monkeypatch, count)
        try:
            Store(root).rollback()
            finished = True
        except PowerCut:
            pass
        monkeypatch.undo()
        version = version_of(Store(root).current())
        seen.add(version)
        assert version in (1, 2)
        if version == 2:  # not rolled back yet: it still can be
            assert Store(root).rollback().version == 1
        count += 1
    assert count >= 6
    assert seen == {1, 2}


def test_store_refuses_to_roll_back_to_what_is_current(tmp_path, packs):
    store = Store(tmp_path)
    for pack in packs:
        store.install(pack)
    (tmp_path / "previous").unlink()
    (tmp_path / "previous").symlink_to(store.current().relative_to(tmp_path))
    with pytest.raises(StoreError, match="has no previous pack to go back to"):
        store.rollback()


def test_store_refuses_to_roll_back_to_a_pack_that_rotted(tmp_path, packs):
    store = Store(tmp_path)
    for pack in packs:
        store.install(pack)
    flip(store.previous())
    with pytest.raises(PackError, match="was altered"):
        store.rollback()
    assert version_of(store.current()) == 2


def test_store_lists_a_pack_that_cannot_be_opened_and_why(tmp_path, packs, capsys):
    store = Store(tmp_path)
    for pack in packs:
        store.install(pack)
    store.previous().write_bytes(b"PK\x03\x04 and no more")
    assert main(["store", "status", "--store", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["current"], bool(row["fault"])) for row in rows] == [(True, False), (False, True)]


@pytest.mark.parametrize("target", ["../elsewhere.region", "/etc/hostname", "packs/gone.region", "staging/x.part"])
def test_store_follows_no_link_out_of_its_packs(tmp_path, packs, target):
    store = Store(tmp_path / "store")
    store.install(packs[0])
    (tmp_path / "elsewhere.region").write_bytes(packs[0].read_bytes())
    (store.root / "staging" / "x.part").write_bytes(packs[0].read_bytes())
    (store.root / "current").unlink()
    (store.root / "current").symlink_to(target)
    assert store.current() is None


def test_store_clears_any_orphan_from_staging(tmp_path, packs):
    store = Store(tmp_path)
    (tmp_path / "staging" / "folder").mkdir()
    (tmp_path / "staging" / "folder" / "file").write_bytes(b"x")
    (tmp_path / "staging" / "half.part").write_bytes(b"x")
    store.install(packs[0])
    assert not list((tmp_path / "staging").iterdir())


@pytest.mark.parametrize("call", ["symlink", "rename", "fsync"])
def test_store_says_a_failing_disk_in_one_line(tmp_path, packs, monkeypatch, call):
    store = Store(tmp_path)
    store.install(packs[0])

    def failing(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(StoreError, match=r"cannot install v2\.region \(Read-only file system\): town-1-.* is current"):
        store.install(packs[1])
    monkeypatch.undo()
    assert version_of(store.current()) == 1


@pytest.mark.parametrize("verb", ["status", "rollback"])
def test_store_is_not_made_by_asking_after_it(tmp_path, capsys, verb):
    assert main(["store", verb, "--store", str(tmp_path / "typo")]) == 2
    assert "typo: no store there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
