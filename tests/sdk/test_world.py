import math

import cv2
import numpy as np
import pytest

from pilotage.camera import Camera
from pilotage.geo import LocalFrame
from pilotage.world import (
    FlightPlan,
    Look,
    Panorama,
    Pose,
    World,
    WorldConfig,
    make_world,
    render_ground,
    render_nadir,
    simulate,
)
from pilotage.world.flight import _fly

SMALL = WorldConfig(size_m=400)


@pytest.fixture(scope="module")
def world():
    return make_world(5, SMALL)


def marked_world(*, tower_m=0.0, north_m=40.0, east_m=-30.0, size_m=400.0):
    """Flat grey ground at 50 m with one red square of 6 m, perhaps raised to a tower."""
    side = round(size_m / 0.5)
    rgb = np.full((side, side, 3), 90, np.uint8)
    surface = np.full((side, side), 50.0, np.float32)
    row, column = round((size_m / 2 - north_m) / 0.5 - 0.5), round((east_m + size_m / 2) / 0.5 - 0.5)
    rgb[row - 6 : row + 7, column - 6 : column + 7] = (255, 0, 0)
    surface[row - 6 : row + 7, column - 6 : column + 7] += tower_m
    terrain = np.full_like(surface, 50.0)
    return World(0, LocalFrame(47.0, 8.0), size_m, 0.5, rgb, rgb, surface, terrain)


def red_centre(picture):
    red = (picture[..., 0].astype(int) - picture[..., 1]) > 60
    rows, columns = np.nonzero(red)
    assert len(rows) > 5
    return columns.mean(), rows.mean()


def slow_projection(camera, pose, north_m, east_m, alt_m):
    """K [R | t] with one rotation at a time; (column, row)."""

    def about(axis, angle):
        c, s = math.cos(angle), math.sin(angle)
        rows = {"x": [[1, 0, 0], [0, c, -s], [0, s, c]], "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]]}
        return np.array(rows.get(axis, [[c, -s, 0], [s, c, 0], [0, 0, 1]]))

    ned = np.array([north_m - pose.north_m, east_m - pose.east_m, pose.alt_m - alt_m])
    forward, right, down = (about("z", pose.yaw_rad) @ about("y", pose.pitch_rad) @ about("x", pose.roll_rad)).T @ ned
    point = np.array([[right / down, -forward / down, 1.0]])
    pixel, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), camera.matrix, np.array(camera.dist))
    return pixel.ravel()


def test_world_is_the_same_from_the_same_seed(world):
    again = make_world(5, SMALL)
    for name in ("map_rgb", "scene_rgb", "surface_m", "terrain_m"):
        assert np.array_equal(getattr(world, name), getattr(again, name))


def test_world_differs_from_seed_to_seed(world):
    other = make_world(6, SMALL)
    assert np.abs(world.map_rgb.astype(int) - other.map_rgb).mean() > 15


def test_world_has_one_geometry_on_two_days(world):
    assert world.map_rgb.shape == world.scene_rgb.shape == (800, 800, 3)
    assert world.surface_m.shape == world.terrain_m.shape == (800, 800)
    assert np.all(world.surface_m >= world.terrain_m - 1e-4)
    assert (world.surface_m - world.terrain_m).max() > 3  # trees or houses
    assert np.abs(world.map_rgb.astype(int) - world.scene_rgb).mean() > 4  # another day
    lumas = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).ravel() for p in (world.map_rgb, world.scene_rgb)]
    assert 0.15 < np.corrcoef(*lumas)[0, 1] < 0.995  # of the same place


def test_world_corners_span_its_size(world):
    corners = world.corners()
    north_m, east_m = world.frame.to_local(corners["north"], corners["east"])
    assert (north_m, east_m) == (pytest.approx(200), pytest.approx(200))


def test_world_refuses_sizes_that_make_no_sense():
    with pytest.raises(ValueError, match="size is 200"):
        WorldConfig(size_m=10)


@pytest.mark.parametrize(
    "pose",
    [
        Pose(0, 0, 150),
        Pose(20, -10, 140, 0.1, -0.08, 0.7),
        Pose(60, -50, 170, -0.15, 0.12, 4.0),
        Pose(30, -40, 130, 0.05, 0.17, -2.0),
    ],
)
@pytest.mark.parametrize("dist", [(0, 0, 0, 0, 0), (-0.15, 0.04, 0.001, 0.0, 0)])
def test_nadir_camera_puts_a_mark_where_a_slow_projection_puts_it(pose, dist):
    focal = 320 / math.tan(math.radians(40))
    camera = Camera(width=640, height=480, fx=focal, fy=focal, cx=319.5, cy=239.5, dist=dist)
    found = red_centre(render_nadir(marked_world(), camera, pose))
    assert found == pytest.approx(slow_projection(camera, pose, 39.75, -29.75, 50.0), abs=1.2)


def test_nadir_camera_leans_a_tower_outwards_by_its_height():
    camera = Camera.from_hfov(640, 480, hfov_deg=80)
    pose = Pose(0, 0, 150)
    top = np.array(slow_projection(camera, pose, 39.75, -29.75, 70.0))
    foot = np.array(slow_projection(camera, pose, 39.75, -29.75, 50.0))
    picture = render_nadir(marked_world(tower_m=20.0), camera, pose)
    bright = picture[..., 0] > 240  # the roof; walls are darker
    rows, columns = np.nonzero(bright)
    assert np.hypot(columns.mean() - top[0], rows.mean() - top[1]) < 3
    assert np.hypot(*(top - foot)) > 10


def test_nadir_camera_sees_a_dull_plain_beyond_the_world():
    picture = render_nadir(marked_world(), Camera.from_hfov(64, 48, hfov_deg=60), Pose(900, 900, 150))
    assert picture.std(axis=(0, 1)).max() < 1


def test_look_darkens_blurs_and_adds_noise(world):
    camera = Camera.from_hfov(160, 120, hfov_deg=70)
    plain = render_nadir(world, camera, Pose(0, 0, 200))
    dark = render_nadir(world, camera, Pose(0, 0, 200), look=Look(gain=(0.5,) * 3, noise=0))
    noisy = render_nadir(world, camera, Pose(0, 0, 200), look=Look(noise=12, defocus_px=0, vignette=0))
    assert dark.mean() < 0.65 * plain.mean()
    assert 8 < (noisy.astype(float) - plain).std() < 16


@pytest.mark.parametrize("bearing_deg", [0, 90, 200, 315])
def test_panorama_shows_a_tower_at_its_bearing(bearing_deg):
    bearing = math.radians(bearing_deg)
    world = marked_world(tower_m=25.0, north_m=60 * math.cos(bearing), east_m=60 * math.sin(bearing))
    yaw = 0.4
    picture = render_ground(world, north_m=0, east_m=0, yaw_rad=yaw)
    column, _ = red_centre(np.roll(picture, 256 - round(((bearing - yaw) / (2 * math.pi) * 512 + 256) % 512), axis=1))
    assert column == pytest.approx(256, abs=2.5)  # rolled so that it should stand in the middle


def test_panorama_turns_with_the_heading(world):
    first = render_ground(world, north_m=0, east_m=0, yaw_rad=0.0)
    turned = render_ground(world, north_m=0, east_m=0, yaw_rad=math.pi / 2)
    assert np.abs(np.roll(first, -128, axis=1).astype(int) - turned).mean() < 1.5


def test_panorama_has_sky_above_and_ground_below(world):
    picture = render_ground(world, north_m=0, east_m=0, yaw_rad=0.0, panorama=Panorama(256, 64))
    assert picture.shape == (64, 256, 3)
    blue = picture[..., 2].astype(int) - picture[..., 0]
    assert blue[0].mean() > 10 > blue[-1].mean()


def test_flight_is_the_same_from_the_same_seed(world):
    camera = Camera.from_hfov(64, 48, hfov_deg=80)
    plan = FlightPlan.draw(make_world(5, WorldConfig(size_m=700)), 1, duration_s=1.0)
    runs = [list(simulate(world, plan, camera, seed=4)) for _ in range(2)]
    for (frame0, truth0), (frame1, truth1) in zip(*runs, strict=True):
        assert truth0 == truth1
        assert np.array_equal(frame0.image, frame1.image)
        assert (frame0.roll_rad, frame0.yaw_rad, frame0.height_m) == (frame1.roll_rad, frame1.yaw_rad, frame1.height_m)


def test_flight_keeps_its_promises_for_a_minute():
    world = marked_world(size_m=2000.0)
    camera = Camera.from_hfov(16, 12, hfov_deg=80)
    flown = list(simulate(world, FlightPlan.draw(world, 3, duration_s=60.0), camera, seed=3))
    stamps = [frame.stamp_ns for frame, _ in flown]
    heights = np.array([truth.alt_m - 50.0 for _, truth in flown])
    places = world.frame.to_local_array(np.array([[t.lat_deg, t.lon_deg] for _, t in flown]))
    assert len(flown) == 480
    assert np.all(np.diff(stamps) > 0)
    assert heights.min() >= 80
    assert heights.max() <= 150
    assert np.abs(places).max() < 950
    speeds = np.hypot(*np.diff(places, axis=0).T) * 8
    assert speeds == pytest.approx(14, abs=0.5)
    tilt = [math.degrees(math.acos(math.cos(f.roll_rad) * math.cos(f.pitch_rad))) for f, _ in flown]
    assert 3 < max(tilt) < 12.5  # ten degrees, and what the sensor adds


def test_flight_sensors_err_as_much_as_they_say():
    world = marked_world(size_m=2000.0)
    camera = Camera.from_hfov(16, 12, hfov_deg=80)
    shares = []
    for seed in range(30):
        plan = FlightPlan.draw(world, seed, duration_s=2.0)
        frame, truth = next(iter(simulate(world, plan, camera, seed=seed)))
        shares.append((frame.height_m - (truth.alt_m - 50.0)) / (truth.alt_m - 50.0))
    assert 0.01 < np.std(shares) < 0.035


@pytest.mark.parametrize("size_m", [600.0, 750.0, 1000.0, 2000.0])
def test_a_drawn_flight_shows_nothing_but_the_world_and_gets_somewhere(size_m):
    """Whatever the seed: the corner of an 84-degree camera, tilted by ten degrees, never leaves the world."""
    world = marked_world(size_m=size_m)
    for seed in range(12):
        plan = FlightPlan.draw(world, seed, duration_s=90.0)
        path = _fly(plan, np.random.default_rng(seed))
        place = np.stack([path.north_m, path.east_m], axis=1)
        assert np.abs(place).max() + 1.6 * path.height_m.max() <= size_m / 2 + 1e-6
        # round one point for ever: the middle of one half minute would be that of the next
        middles = np.array([place[i : i + 240].mean(axis=0) for i in range(0, 720 - 239, 240)])
        assert np.linalg.norm(np.diff(middles, axis=0), axis=1).max() > 15
        assert len(np.unique(plan.waypoints_m, axis=0)) == len(plan.waypoints_m) >= 4
        assert 8 <= plan.speed_m_s <= 14 and plan.wind_m_s <= 0.5 * plan.speed_m_s


def test_a_world_too_small_to_turn_in_is_refused():
    with pytest.raises(ValueError, match="600 m or more to turn in, this one has 500 m"):
        FlightPlan.draw(marked_world(size_m=500.0), 1)
