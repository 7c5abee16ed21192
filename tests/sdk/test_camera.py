"""The rotations, against one slow matrix per axis; camera.json, there and back; every refusal."""

import json
import math

import numpy as np
import pytest

from pilotage.camera import NADIR, Camera, ned_from_body
from pilotage.errors import CameraError

GOOD = {"width": 640, "height": 480, "fx": 400.0, "fy": 401.0, "cx": 319.5, "cy": 239.5}
IDEAL = Camera.from_hfov(640, 480, hfov_deg=84.0)


def about_x(a):
    return np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])


def about_y(a):
    return np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])


def about_z(a):
    return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])


@pytest.mark.parametrize("roll_deg", [-20.0, 0.0, 7.0])
@pytest.mark.parametrize("pitch_deg", [-15.0, 0.0, 30.0])
@pytest.mark.parametrize("yaw_deg", [-170.0, 0.0, 45.0, 90.0, 300.0])
def test_ned_from_body_is_yaw_then_pitch_then_roll(roll_deg, pitch_deg, yaw_deg):
    roll, pitch, yaw = (math.radians(a) for a in (roll_deg, pitch_deg, yaw_deg))
    slow = about_z(yaw) @ about_y(pitch) @ about_x(roll)
    assert ned_from_body(roll, pitch, yaw) == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize(
    ("euler_deg", "body", "ned"),
    [
        ((0, 0, 0), (1, 0, 0), (1, 0, 0)),  # yaw 0: the nose points north
        ((0, 0, 90), (1, 0, 0), (0, 1, 0)),  # yaw turns clockwise: the nose points east
        ((0, 0, 90), (0, 1, 0), (-1, 0, 0)),  # ... and the right wing south
        ((0, 90, 0), (1, 0, 0), (0, 0, -1)),  # pitch lifts the nose
        ((90, 0, 0), (0, 1, 0), (0, 0, 1)),  # roll drops the right wing
    ],
)
def test_ned_from_body_turns_the_way_pilots_say(euler_deg, body, ned):
    rotation = ned_from_body(*(math.radians(a) for a in euler_deg))
    assert rotation @ np.array(body) == pytest.approx(np.array(ned), abs=1e-12)


@pytest.mark.parametrize(
    ("camera", "body"),
    [
        ((0, 0, 1), (0, 0, 1)),  # the optical axis: down
        ((0, -1, 0), (1, 0, 0)),  # the top of the picture: the nose
        ((1, 0, 0), (0, 1, 0)),  # the right of the picture: the right wing
    ],
)
def test_nadir_mount_has_the_top_of_the_picture_towards_the_nose(camera, body):
    assert np.array(NADIR) @ np.array(camera) == pytest.approx(np.array(body))


@pytest.mark.parametrize(
    ("euler_deg", "ned"),
    [
        ((0, 0, 0), (0, 0, 1)),
        ((10, 0, 0), (0, -math.sin(math.radians(10)), math.cos(math.radians(10)))),  # right wing down looks left
        ((0, 10, 0), (math.sin(math.radians(10)), 0, math.cos(math.radians(10)))),  # nose up looks ahead
        ((0, 10, 90), (0, math.sin(math.radians(10)), math.cos(math.radians(10)))),  # ... which is east
    ],
)
def test_optical_axis_of_a_tilted_body(euler_deg, ned):
    rotation = IDEAL.ned_from_camera(*(math.radians(a) for a in euler_deg))
    assert rotation[:, 2] == pytest.approx(np.array(ned), abs=1e-12)


def test_mount_is_applied_before_the_attitude():
    mount = about_z(0.3) @ about_x(0.1)
    camera = Camera(**GOOD, body_from_camera=tuple(tuple(row) for row in mount.tolist()))
    slow = about_z(2.0) @ about_y(-0.1) @ about_x(0.05) @ mount
    assert camera.ned_from_camera(0.05, -0.1, 2.0) == pytest.approx(slow, abs=1e-12)


def test_from_hfov_sees_that_angle_from_edge_to_edge():
    left, right = (math.atan((x - IDEAL.cx) / IDEAL.fx) for x in (-0.5, 639.5))
    assert math.degrees(right - left) == pytest.approx(84.0)
    assert IDEAL.fx == IDEAL.fy and IDEAL.cy == 239.5 and not IDEAL.distorted
    assert IDEAL.matrix @ np.array([0, 0, 1]) == pytest.approx(np.array([319.5, 239.5, 1]))


def test_camera_json_round_trip(tmp_path):
    mount = tuple(tuple(row) for row in (about_z(0.3) @ about_x(-0.2)).tolist())
    camera = Camera(**GOOD, dist=(-0.1, 0.02, 1e-4, -2e-4, 0.003), body_from_camera=mount)
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(camera.to_dict()), encoding="utf-8")
    assert Camera.load(path) == camera and camera.distorted


def test_camera_json_needs_only_the_intrinsics():
    camera = Camera.from_dict(GOOD)
    assert camera == Camera(**GOOD) and camera.body_from_camera == NADIR and not camera.distorted


@pytest.mark.parametrize("count", [4, 5, 8])
def test_dist_has_the_lengths_of_opencvs_pinhole(count):
    assert len(Camera.from_dict({**GOOD, "dist": [0.0] * count}).dist) == count


SKEWED = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.5, 1.0))
MIRRORED = ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
REFUSED = [
    ({"width": 0}, "size 0x480"),
    ({"height": -1}, "size 640x-1"),
    ({"width": 16385}, "size 16385x480"),
    ({"fx": 0.0}, "focal length fx=0.0"),
    ({"fy": -400.0}, "fy=-400.0"),
    ({"fx": math.nan}, "must be finite"),
    ({"cx": math.inf}, "must be finite"),
    ({"dist": (math.nan, 0.0, 0.0, 0.0)}, "must be finite"),
    ({"dist": ()}, "dist has 0 numbers"),
    ({"dist": (0.0, 0.0, 0.0)}, "dist has 3 numbers"),
    ({"dist": (0.0,) * 14}, "dist has 14 numbers"),
    ({"body_from_camera": SKEWED}, "3x3 rotation"),
    ({"body_from_camera": MIRRORED}, "mirrored"),
    ({"body_from_camera": ((math.nan,) * 3,) * 3}, "3x3 rotation"),
    ({"body_from_camera": NADIR[:2]}, "3x3 rotation"),
    ({"body_from_camera": ()}, "3x3 rotation"),
]


@pytest.mark.parametrize(("change", "says"), REFUSED)
def test_camera_refuses(change, says):
    with pytest.raises(CameraError, match=says) as caught:
        Camera(**{**GOOD, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], "expected an object"),
        (None, "expected an object"),
        ({k: v for k, v in GOOD.items() if k != "fy"}, "'fy' is missing"),
        ({**GOOD, "focal": 3}, "unknown key 'focal'"),
        ({**GOOD, "model": "fisheye"}, "model 'fisheye' is not supported"),
        ({**GOOD, "fx": "wide"}, "expected numbers"),
        ({**GOOD, "width": None}, "expected numbers"),
        ({**GOOD, "width": math.inf}, "expected numbers"),
        ({**GOOD, "dist": 0.1}, "expected numbers"),
        ({**GOOD, "dist": [None] * 5}, "expected numbers"),
        ({**GOOD, "body_from_camera": 5}, "expected numbers"),
        ({**GOOD, "body_from_camera": [[1, 0], [0, 1]]}, "expected numbers"),
        ({**GOOD, "body_from_camera": {"roll": 0}}, "expected numbers"),
        *(({**GOOD, **change}, says) for change, says in REFUSED),
    ],
)
def test_camera_json_refuses(raw, says):
    with pytest.raises(CameraError, match=says) as caught:
        Camera.from_dict(raw, source="camera.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot read the camera file"), (b"{", "not JSON"), (b"\xff\xfe\x00", "not JSON"), (b"", "not JSON")],
)
def test_camera_file_refuses_and_names_itself(content, says, tmp_path):
    path = tmp_path / "camera.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CameraError, match=says) as caught:
        Camera.load(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("hfov_deg", [0.0, 1.0, 170.0, -60.0, 360.0, math.nan, math.inf])
def test_from_hfov_refuses(hfov_deg):
    with pytest.raises(CameraError, match="horizontal field of view"):
        Camera.from_hfov(640, 480, hfov_deg=hfov_deg)
