import dataclasses
import math

import numpy as np
import pytest

from pilotage.camera import Camera
from pilotage.motion import GroundMotion, MotionConfig
from pilotage.rectify import RectifyConfig, rectify
from pilotage.refine import RefineConfig, edge_field
from pilotage.track import Measurement, Track, TrackConfig
from pilotage.values import Frame
from pilotage.world import Pose, render_nadir
from pilotage.world.nadir import ground_height_m

CAMERA = Camera.from_hfov(320, 240, hfov_deg=84)


def view(world, north_m, east_m, *, roll=0.0, yaw=0.0, height_m=110.0):
    alt_m = ground_height_m(world, north_m, east_m) + height_m
    image = render_nadir(world, CAMERA, Pose(north_m, east_m, alt_m, roll, 0.0, yaw))
    patch = rectify(
        Frame(image, 0, roll, 0.0, yaw, height_m, CAMERA), ground_size_m=100.0, side_px=128, config=RectifyConfig()
    )
    return patch, edge_field(patch.image, patch.covered, RefineConfig())


def speed_between(first, second, *, dt_s=1.0):
    motion = GroundMotion(MotionConfig(), RefineConfig())
    assert motion.update(*first, time_s=10.0, height_m=110.0) is None
    return motion.update(*second, time_s=10.0 + dt_s, height_m=110.0)


@pytest.mark.parametrize(
    ("north", "east", "roll", "yaw"), [(12, 0, 0, 0), (-3, -9, 0, 1.0), (5, 10, 0.12, -2.0), (0, 0, 0, 0)]
)
def test_motion_reads_how_far_the_ground_moved(region, north, east, roll, yaw):
    """Turning and banking between the frames must not look like going somewhere."""
    speed = speed_between(view(region.world, 20, -30), view(region.world, 20 + north, -30 + east, roll=roll, yaw=yaw))
    assert speed.north_m_s == pytest.approx(north, abs=0.8)
    assert speed.east_m_s == pytest.approx(east, abs=0.8)
    assert 0.3 < speed.std_m_s < 2.5


def test_motion_divides_by_the_time_between(region):
    speed = speed_between(view(region.world, 20, -30), view(region.world, 30, -30), dt_s=2.0)
    assert speed.north_m_s == pytest.approx(5, abs=0.5)


def test_motion_says_nothing_of_other_ground_or_after_too_long(region):
    here, far = view(region.world, 20, -30), view(region.world, -160, 150)
    assert speed_between(here, far) is None
    assert speed_between(here, here, dt_s=30.0) is None
    assert speed_between(here, here, dt_s=0.1) is None


def test_motion_starts_again_when_time_goes_back(region):
    here = view(region.world, 20, -30)
    assert speed_between(here, here, dt_s=-5.0) is None


def test_motion_says_nothing_of_blank_ground(region):
    patch, edges = view(region.world, 20, -30)
    blank = np.zeros_like(edges)
    assert speed_between((patch, blank), (patch, blank)) is None


def test_velocity_keeps_a_track_narrow_and_a_wrong_one_is_refused():
    tracks = [Track(TrackConfig()) for _ in range(2)]
    for i in range(9):
        for track in tracks:
            track.predict(i * 0.125)
            here = Measurement(0.0, 1.5 * i, 1.0, 1.0, score=0.5, strength=1.0)
            track.offer(here) if track.active else track.acquire([here])
    carried, alone = tracks
    for i in range(9, 33):
        for track in tracks:
            track.predict(i * 0.125)
            track.offer(None)
        if i % 8 == 0:
            carried.offer_velocity(0.0, 12.0, std_m_s=1.2)
            carried.offer_velocity(0.0, 400.0, std_m_s=1.2)
            carried.offer_velocity(math.nan, 0.0, std_m_s=1.2)
    assert carried.std_m() < 0.6 * alone.std_m()
    assert carried.velocity_m_s[1] == pytest.approx(12, abs=1)
    assert dataclasses.asdict(TrackConfig())["lost_std_m"] > carried.std_m()
