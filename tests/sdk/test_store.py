import errno
import os
import shutil

import pytest

from pilotage.errors import PackError, StoreError
from pilotage.maps import open_map
from pilotage.pack import BuildConfig, RegionPack, build_pack
from pilotage.store import Store
from pilotage.testing import FakeEngine


@pytest.fixture(scope="module")
def packs(region, tmp_path_factory):
    """Three versions of one region."""
    folder = tmp_path_factory.mktemp("versions")
    files = []
    for version in (1, 2, 3):
        files.append(folder / f"v{version}.region")
        config = BuildConfig(tile_m=200.0, stride_m=100.0)
        build_pack(
            open_map(region.map_file),
            files[-1],
            engine=FakeEngine(),
            model=b"fake",
            name="my town/ñ",
            pack_version=version,
            config=config,
        )
    return files


def version_of(path):
    with RegionPack.open(path) as pack:
        return pack.manifest.pack_version


def test_store_keeps_current_and_previous(tmp_path, packs):
    store = Store(tmp_path / "store")
    assert store.current() is None
    assert store.packs() == []
    for pack in packs:
        assert store.install(pack).current
    assert (version_of(store.current()), version_of(store.previous())) == (3, 2)
    assert [(p.version, p.current, p.previous) for p in store.packs()] == [
        (3, True, False),
        (2, False, True),
        (1, False, False),
    ]
    assert not list((store.root / "staging").iterdir())


def test_store_rolls_back_and_forth(tmp_path, packs):
    store = Store(tmp_path)
    for pack in packs[:2]:
        store.install(pack)
    assert store.rollback().version == 1
    assert store.rollback().version == 2


def test_store_installing_the_same_pack_again_changes_nothing(tmp_path, packs):
    store = Store(tmp_path)
    store.install(packs[0])
    store.install(packs[1])
    store.install(packs[1])
    assert (version_of(store.current()), version_of(store.previous())) == (2, 1)


def test_store_survives_being_moved(tmp_path, packs):
    Store(tmp_path / "a").install(packs[0])
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert version_of(Store(tmp_path / "b").current()) == 1


def test_store_refuses_a_broken_pack_and_keeps_the_current(tmp_path, packs):
    store = Store(tmp_path / "store")
    store.install(packs[0])
    broken = tmp_path / "broken.region"
    broken.write_bytes(packs[1].read_bytes()[:-7])
    with pytest.raises(PackError):
        store.install(broken)
    assert version_of(store.current()) == 1


class PowerCut(BaseException):
    """Nothing catches it, as nothing catches a pulled plug."""


STEPS = ("fsync", "open", "rename", "unlink", "symlink", "readlink")


def test_store_has_a_good_pack_wherever_the_power_goes(tmp_path, packs, monkeypatch):
    """Cut the power at every system call of an update: current is a whole pack, old or new, and an install works."""
    calls = {"left": -1}

    def cutting(real):
        def call(*arguments, **options):
            if calls["left"] == 0:
                raise PowerCut
            calls["left"] -= 1
            return real(*arguments, **options)

        return call

    real = {name: getattr(os, name) for name in STEPS}
    cut_at, seen = 0, set()
    while True:
        root = tmp_path / str(cut_at)
        Store(root).install(packs[0])
        calls["left"] = cut_at
        for name, function in real.items():
            monkeypatch.setattr(os, name, cutting(function))
        try:
            Store(root).install(packs[1])
            finished = True
        except PowerCut:
            finished = False
        for name, function in real.items():
            monkeypatch.setattr(os, name, function)
        store = Store(root)
        seen.add(version_of(store.current()))
        assert version_of(store.current()) in (1, 2)
        assert store.install(packs[2]).version == 3
        assert version_of(store.current()) == 3
        assert not list((root / "staging").iterdir())
        if finished:
            break
        cut_at += 1
    assert cut_at >= 8  # so many places were tried
    assert seen == {1, 2}


def test_store_says_so_when_the_disk_is_full(tmp_path, packs, monkeypatch):
    store = Store(tmp_path)
    store.install(packs[0])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StoreError, match=r"0 MB free, \d+ MB needed"):
        store.install(packs[1])
    monkeypatch.undo()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        store.install(packs[1])
    monkeypatch.undo()
    assert version_of(store.current()) == 1


def test_store_lets_one_installer_in_at_a_time(tmp_path, packs):
    store = Store(tmp_path)
    with store._lock(), pytest.raises(StoreError, match="another installer is at work"):
        store.install(packs[0])


def test_store_refuses_a_folder_it_cannot_make(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot make a store there"):
        Store(tmp_path / "file" / "store")
