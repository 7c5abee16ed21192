import math

import cv2
import numpy as np
import pytest

from pilotage.camera import Camera
from pilotage.contract import FILL_RGB
from pilotage.rectify import Patch, RectifyConfig, rectify
from pilotage.values import Frame, Verdict

CONFIG = RectifyConfig()


def coordinates_picture(width, height):
    """Red is the column, green the row, so that a pixel says where it came from."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    blue = 128 + 60 * np.sin(columns / 9) * np.sin(rows / 7)
    return np.stack([columns * 255 / width, rows * 255 / height, blue], axis=-1).astype(np.uint8)


def frame(camera, *, roll=0.0, pitch=0.0, yaw=0.0, height_m=100.0, image=None):
    if image is None:
        image = coordinates_picture(camera.width, camera.height)
    return Frame(image, 0, math.radians(roll), math.radians(pitch), math.radians(yaw), height_m, camera)


def axis_rotation(axis, angle):
    c, s = math.cos(angle), math.sin(angle)
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def slow_pixel_of_ground(camera, shot, north_m, east_m):
    """Project a point of flat ground, one rotation at a time; (column, row)."""
    body_from_ned = (
        axis_rotation("z", shot.yaw_rad) @ axis_rotation("y", shot.pitch_rad) @ axis_rotation("x", shot.roll_rad)
    ).T
    forward, right, down = body_from_ned @ np.array([north_m, east_m, shot.height_m])
    x, y, z = right, -forward, down  # nadir mount: picture right is body right, picture down is body back
    point = np.array([[x / z, y / z, 1.0]])
    pixel, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), camera.matrix, np.array(camera.dist))
    return pixel.ravel()


@pytest.mark.parametrize(
    ("roll", "pitch", "yaw", "height_m", "dist"),
    [
        (0, 0, 0, 100, (0, 0, 0, 0, 0)),
        (6, -4, 37, 90, (0, 0, 0, 0, 0)),
        (-8, 7, 200, 140, (0, 0, 0, 0, 0)),
        (3, 3, -75, 110, (-0.12, 0.03, 0.001, -0.001, 0)),
    ],
)
def test_rectify_puts_ground_where_a_slow_projection_puts_it(roll, pitch, yaw, height_m, dist):
    focal = 320 / math.tan(math.radians(40))
    camera = Camera(width=640, height=480, fx=focal, fy=focal, cx=322.0, cy=237.0, dist=dist)
    shot = frame(camera, roll=roll, pitch=pitch, yaw=yaw, height_m=height_m)
    patch = rectify(shot, ground_size_m=80.0, side_px=128, config=CONFIG)
    assert isinstance(patch, Patch)
    checked = 0
    for row in range(8, 128, 12):
        for column in range(8, 128, 12):
            if not patch.covered[row - 3 : row + 4, column - 3 : column + 4].all():
                continue
            north_m = patch.offset_north_m + (63.5 - row) * patch.gsd_m
            east_m = patch.offset_east_m + (column - 63.5) * patch.gsd_m
            expected = slow_pixel_of_ground(camera, shot, north_m, east_m)
            red, green = patch.image[row, column, :2].astype(float)
            assert red * 640 / 255 == pytest.approx(expected[0], abs=4)  # one grey level is 2.5 columns
            assert green * 480 / 255 == pytest.approx(expected[1], abs=4)
            checked += 1
    assert checked > 40


def test_rectify_turn_is_a_change_of_yaw():
    camera = Camera.from_hfov(640, 480, hfov_deg=80)
    turned = rectify(frame(camera, yaw=20), ground_size_m=80.0, side_px=128, turn_rad=math.radians(15), config=CONFIG)
    other = rectify(frame(camera, yaw=35), ground_size_m=80.0, side_px=128, config=CONFIG)
    assert np.abs(turned.image.astype(int) - other.image).mean() < 0.5


def test_rectify_fills_what_the_frame_did_not_see():
    camera = Camera.from_hfov(640, 480, hfov_deg=50)
    patch = rectify(frame(camera, yaw=45), ground_size_m=100.0, side_px=128, config=CONFIG)
    assert isinstance(patch, Patch)
    assert 0.35 < patch.covered.mean() < 0.95
    assert np.all(patch.image[~patch.covered] == FILL_RGB)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"roll": math.nan}, Verdict.BAD_ATTITUDE),
        ({"yaw": math.inf}, Verdict.BAD_ATTITUDE),
        ({"pitch": 45}, Verdict.TILT_OUT_OF_RANGE),
        ({"roll": 180}, Verdict.TILT_OUT_OF_RANGE),
        ({"height_m": math.nan}, Verdict.BAD_HEIGHT),
        ({"height_m": -3.0}, Verdict.BAD_HEIGHT),
        ({"height_m": 0.0}, Verdict.BAD_HEIGHT),
        ({"height_m": 15.0}, Verdict.TOO_LOW),
        ({"height_m": 3000.0}, Verdict.TOO_HIGH),
        ({"image": np.zeros((480, 640, 3), np.uint8)}, Verdict.BAD_IMAGE),
        ({"image": np.full((480, 640, 3), 255, np.uint8)}, Verdict.BAD_IMAGE),
        ({"image": np.zeros((240, 320, 3), np.uint8)}, Verdict.BAD_IMAGE),
        ({"image": np.zeros((480, 640), np.uint8)}, Verdict.BAD_IMAGE),
    ],
)
def test_rectify_gives_a_verdict_on_what_it_cannot_use(change, verdict):
    camera = Camera.from_hfov(640, 480, hfov_deg=80)
    assert rectify(frame(camera, **change), ground_size_m=100.0, side_px=128, config=CONFIG) is verdict
