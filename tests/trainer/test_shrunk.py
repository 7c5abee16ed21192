"""Pictures kept small: the right size, once, again when the file changes, never half."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pilotage_trainer.data.shrunk import Shrunk, shrunk_px
from pilotage_trainer.data.split import ImageFiles
from pilotage_trainer.data.views import View, prepare


@pytest.mark.parametrize(
    ("size", "view", "expected"),
    [
        ((224, 1232), View(140, 768), (140, 770)),  # the rows decide
        ((750, 750), View(256, 256), (256, 256)),
        ((832, 1664), View(128, 512, middle_half=True), (256, 512)),
        ((832, 1664), View(128, 128, fov_deg=90), (256, 512)),
        ((1200, 1200), View(128, 512, polar=True), (256, 256)),
        ((100, 400), View(128, 512), (100, 400)),  # never larger
    ],
)
def test_the_small_copy_has_every_pixel_the_view_asks_for(size, view, expected):
    assert shrunk_px(*size, view) == expected


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "one.png"
    rows, columns = np.mgrid[0:240, 0:960]
    image = np.stack([rows, columns // 4, 120 + 60 * np.sin(columns / 40)], axis=-1).astype(np.uint8)
    cv2.imwrite(str(path), image)
    return path


def read(path, cache, view):
    return Shrunk(ImageFiles([path]), view, cache).read(0, np.random.default_rng(0))


def test_what_is_read_from_the_cache_is_the_picture(picture, tmp_path):
    view = View(60, 240)
    whole = prepare(ImageFiles([picture]).read(0, None), view, None).astype(int)
    for _ in range(2):  # made, then found
        small = prepare(read(picture, tmp_path / "cache", view), view, None).astype(int)
        assert small.shape == (60, 240, 3) and np.abs(small - whole).mean() < 2
    assert len(list((tmp_path / "cache").rglob("*.jpg"))) == 1


def test_the_original_is_not_opened_again(picture, tmp_path):
    view, cache = View(60, 240), tmp_path / "cache"
    first = read(picture, cache, view)
    facts = os.stat(picture)
    picture.write_bytes(b"x" * facts.st_size)
    os.utime(picture, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert np.abs(read(picture, cache, view).astype(int) - first).mean() < 2


def test_a_changed_file_is_shrunk_again(picture, tmp_path):
    view, cache = View(60, 240), tmp_path / "cache"
    read(picture, cache, view)
    cv2.imwrite(str(picture), np.full((240, 960, 3), 7, np.uint8))
    assert np.abs(read(picture, cache, view).astype(int) - 7).max() <= 2


def test_a_damaged_copy_is_made_again(picture, tmp_path):
    view, cache = View(60, 240), tmp_path / "cache"
    first = read(picture, cache, view)
    (kept,) = cache.rglob("*.jpg")
    kept.write_bytes(kept.read_bytes()[:10])
    assert (read(picture, cache, view) == first).all()
    assert kept.stat().st_size > 10


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(picture):
    view = View(60, 240)
    assert read(picture, Path("/proc/no-such"), view).shape == (60, 240, 3)
