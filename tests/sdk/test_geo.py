"""Local metres against an independent, slow computation: WGS84 to earth-centred metres to east, north, up."""

import math

import numpy as np
import pytest

from pilotage.geo import LocalFrame, haversine_m, metres_per_degree

A_M, F = 6378137.0, 1 / 298.257223563  # WGS84, by its definition
PLACES = [(0.0, 0.0), (50.8303, -0.1463), (-33.86, 151.2), (69.65, 18.95), (-77.85, 166.67), (20.0, 179.9999)]


def ecef_m(lat_deg, lon_deg):
    lat, lon = math.radians(lat_deg), math.radians(lon_deg)
    b_m = A_M * (1 - F)
    n_m = A_M**2 / math.sqrt((A_M * math.cos(lat)) ** 2 + (b_m * math.sin(lat)) ** 2)
    return np.array(
        [
            n_m * math.cos(lat) * math.cos(lon),
            n_m * math.cos(lat) * math.sin(lon),
            (b_m / A_M) ** 2 * n_m * math.sin(lat),
        ]
    )


def slow_local_m(origin, place):
    """Return (north_m, east_m) in the plane that touches the ellipsoid at the origin."""
    lat, lon = math.radians(origin[0]), math.radians(origin[1])
    east = np.array([-math.sin(lon), math.cos(lon), 0.0])
    up = np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
    delta = ecef_m(*place) - ecef_m(*origin)
    return float(np.cross(up, east) @ delta), float(east @ delta)


@pytest.mark.parametrize("origin", PLACES)
@pytest.mark.parametrize("offset_m", [(500.0, 0.0), (0.0, 500.0), (-500.0, 500.0), (300.0, -400.0), (0.0, 0.0)])
def test_local_frame_agrees_with_the_ellipsoid_near_its_origin(origin, offset_m):
    frame = LocalFrame(*origin)
    place = frame.to_wgs84(*offset_m)
    # What linear costs at this distance: meridians converge, and a plane leaves a curved earth.
    bound_m = 1e-3 + (offset_m[0] ** 2 + offset_m[1] ** 2) * (0.5 + math.tan(math.radians(abs(origin[0])))) / 6.35e6
    assert slow_local_m(origin, place) == pytest.approx(offset_m, abs=bound_m)
    assert frame.to_local(*place) == pytest.approx(offset_m, abs=1e-6)


@pytest.mark.parametrize("lat_deg", [-85.0, -45.0, 0.0, 0.1, 52.0, 85.0])
def test_metres_per_degree_agree_with_a_small_step_on_the_ellipsoid(lat_deg):
    step_deg = 1e-4
    north_m = np.linalg.norm(ecef_m(lat_deg + step_deg / 2, 10.0) - ecef_m(lat_deg - step_deg / 2, 10.0))
    east_m = np.linalg.norm(ecef_m(lat_deg, 10.0 + step_deg / 2) - ecef_m(lat_deg, 10.0 - step_deg / 2))
    assert metres_per_degree(lat_deg) == pytest.approx((north_m / step_deg, east_m / step_deg), rel=1e-6)


def test_local_frame_is_as_wrong_far_away_as_it_says():
    frame = LocalFrame(50.0, 8.0)
    place = frame.to_wgs84(10_000.0, 1_000.0)
    _, east_m = slow_local_m((50.0, 8.0), place)
    assert abs(east_m - 1_000.0) / 1_000.0 == pytest.approx(0.002, abs=2e-4)


@pytest.mark.parametrize("origin", PLACES)
def test_local_frame_round_trip(origin):
    frame = LocalFrame(*origin)
    rng = np.random.default_rng(3)
    for north_m, east_m in rng.uniform(-20_000, 20_000, (50, 2)):
        lat_deg, lon_deg = frame.to_wgs84(north_m, east_m)
        assert -180.0 <= lon_deg < 180.0
        assert frame.to_local(lat_deg, lon_deg) == pytest.approx((north_m, east_m), abs=1e-6)


def test_local_frame_of_an_array_is_that_of_its_rows():
    frame = LocalFrame(-17.8, 179.999)
    places = np.array([frame.to_wgs84(*offset_m) for offset_m in [(0, 0), (900, -40), (-3, 800), (-700, 5000)]])
    kept = places.copy()
    assert frame.to_local_array(places) == pytest.approx(np.array([frame.to_local(*place) for place in places]))
    assert np.array_equal(places, kept), "the caller's array is the caller's"


@pytest.mark.parametrize("east_m", [500.0, -500.0])
@pytest.mark.parametrize("lon_deg", [179.999, -179.999, 180.0, -180.0])
def test_local_frame_crosses_the_antimeridian(lon_deg, east_m):
    frame = LocalFrame(-17.0, lon_deg)
    lat1_deg, lon1_deg = frame.to_wgs84(20.0, east_m)
    assert -180.0 <= lon1_deg < 180.0
    assert frame.to_local(lat1_deg, lon1_deg) == pytest.approx((20.0, east_m), abs=1e-6)
    assert slow_local_m((-17.0, lon_deg), (lat1_deg, lon1_deg)) == pytest.approx((20.0, east_m), abs=0.05)


def test_local_frame_takes_either_name_of_a_longitude():
    frame = LocalFrame(10.0, 179.9)
    assert frame.to_local(10.0, 180.05) == pytest.approx(frame.to_local(10.0, -179.95), abs=1e-6)


@pytest.mark.parametrize(
    "origin", [(85.01, 0), (-90, 0), (0, 180.01), (0, -181), (math.nan, 0), (0, math.nan), (math.inf, 0)]
)
def test_local_frame_refuses_an_origin_that_is_none(origin):
    with pytest.raises(ValueError, match=r"outside latitude -85\.\.85"):
        LocalFrame(*origin)


@pytest.mark.parametrize(
    ("place0", "place1"),
    [
        ((50.8, -0.1), (50.81, -0.12)),
        ((0, 0), (0, 0)),
        ((0, 179.9), (0, -179.9)),
        ((0, 0), (0, 180)),
        ((-60, 5), (60, 9)),
    ],
)
def test_haversine_is_the_angle_between_two_directions(place0, place1):
    def direction(lat_deg, lon_deg):
        lat, lon = math.radians(lat_deg), math.radians(lon_deg)
        return np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])

    u, v = direction(*place0), direction(*place1)
    angle = math.atan2(float(np.linalg.norm(np.cross(u, v))), float(u @ v))
    assert haversine_m(*place0, *place1) == pytest.approx(6371004.0 * angle, abs=1e-5)
