"""Each field of GPS_INPUT with the fact it rests on (AP_GPS_MAV and EKF3, December 2025)."""

import math
from dataclasses import replace

import pytest

from pilotage.values import TrackState
from pilotage_bridge.gps_input import GpsInputConfig, GpsInputProfile, Refusal

FIELDS_OF_MOTION = {"velocity_north_m_s": 4.0, "velocity_east_m_s": -3.0, "std_velocity_m_s": 0.4}


@pytest.fixture
def one(make_fix, say):
    """The single message for a fix."""

    def ask(config=None, alt_m=120.0, **changes):
        (message,) = say(GpsInputProfile(config), make_fix(10.0, **changes), 10.1, alt_m=alt_m)
        return message

    return ask


def test_gps_id_is_the_driver_instance(one):
    # Another id is dropped without a word.
    assert one().gps_id == 0
    assert one(GpsInputConfig(gps_id=1)).gps_id == 1


def test_ignore_flags_are_exactly_the_velocities_without_a_velocity(one):
    assert one().ignore_flags == 8 | 16 | 32


def test_ignore_flags_keep_only_the_vertical_velocity_out_with_a_velocity(one):
    # A Fix has no vertical velocity, and a vd of 0 would be fused as a measurement.
    message = one(**FIELDS_OF_MOTION)
    assert message.ignore_flags == 16
    assert (message.vn, message.ve, message.vd) == (4.0, -3.0, 0.0)
    assert message.speed_accuracy == 0.4


@pytest.mark.parametrize("name", list(FIELDS_OF_MOTION))
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_ignore_flags_exclude_a_velocity_that_is_none(one, name, value):
    message = one(**{**FIELDS_OF_MOTION, name: value})
    assert message.ignore_flags == 8 | 16 | 32
    assert (message.vn, message.ve, message.vd, message.speed_accuracy) == (0.0, 0.0, 0.0, 0.0)


def test_altitude_is_always_sent(one):
    # With the ALT flag (1) ArduPilot takes 0 m.
    assert one(alt_m=-12.5).alt == -12.5
    assert not one(alt_m=-12.5).ignore_flags & 1


def test_fix_type_is_3_with_a_position(one):
    # The driver copies it into the status, and EKF3 uses nothing below a 3D fix.
    assert one().fix_type == 3
    assert one(state=TrackState.DEGRADED).fix_type == 3


def test_horizontal_accuracy_is_the_larger_sigma_as_it_is(one):
    # EKF3 refuses to align above 5 m; the number is not bent to pass.
    assert one(std_north_m=7.5, std_east_m=4.0).horiz_accuracy == pytest.approx(7.5)
    assert one(std_north_m=5.0, std_east_m=5.0, cov_north_east_m2=11.0).horiz_accuracy == pytest.approx(6.0)
    assert one(std_north_m=0.3, std_east_m=0.2).horiz_accuracy == pytest.approx(0.3)


def test_vertical_accuracy_is_what_the_caller_says_of_its_altitude(one):
    assert one(GpsInputConfig(std_alt_m=3.0)).vert_accuracy == 3.0
    assert not one().ignore_flags & 128


def test_dops_and_satellites_pass_the_checks_before_take_off(one):
    # EKF3: at least 6 satellites, HDOP at most 2.5; GPS_HDOP_GOOD is 1.4. They say nothing about accuracy.
    message = one()
    assert message.satellites_visible >= 6
    assert message.hdop <= 1.4
    assert message.vdop == message.hdop


def test_yaw_is_not_provided(one):
    # 0 means that; north would be 36000.
    assert one(heading_rad=1.0, std_heading_rad=0.01).yaw == 0


def test_time_is_gps_time_of_the_exposure(one):
    # 2026-09-21T14:13:20Z + 10 s, a Monday: week 2437 (the clock reads 0 at 1790000000).
    message = one()
    assert message.time_week == 2437
    assert message.time_week_ms == (86400 + 14 * 3600 + 13 * 60 + 20 + 10 + 18) * 1000
    assert message.time_usec == 1_790_000_010_000_000


@pytest.mark.parametrize(
    ("lat", "lon", "lat_e7", "lon_e7"),
    [
        (50.83031114, -0.14633336, 508303111, -1463334),
        (-33.86000006, 151.20999994, -338600001, 1512099999),
        (0.0, 6.5, 0, 65000000),
        (90.0, 180.0, 900000000, 1800000000),
        (-90.0, -180.0, -900000000, -1800000000),
    ],
)
def test_position_is_rounded_to_the_nearest_1e7th(one, lat, lon, lat_e7, lon_e7):
    message = one(lat_deg=lat, lon_deg=lon)
    assert (message.lat, message.lon) == (lat_e7, lon_e7)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"lat_deg": math.nan}, Refusal.NO_POSITION),
        ({"lat_deg": math.inf}, Refusal.NO_POSITION),
        ({"state": TrackState.SEARCHING}, Refusal.NO_POSITION),
        ({"state": TrackState.LOST}, Refusal.NO_POSITION),
        ({"state": TrackState.FAULT}, Refusal.NO_POSITION),
        ({"lon_deg": math.nan}, Refusal.NOT_A_POSITION),
        ({"lon_deg": -math.inf}, Refusal.NOT_A_POSITION),
        ({"lat_deg": 91.0}, Refusal.NOT_A_POSITION),
        ({"lon_deg": 180.1}, Refusal.NOT_A_POSITION),
        ({"lat_deg": 0.0, "lon_deg": 0.0}, Refusal.NOT_A_POSITION),
        ({"lat_deg": 1e-9, "lon_deg": -1e-9}, Refusal.NOT_A_POSITION),
        ({"std_north_m": math.nan}, Refusal.NOT_A_POSITION),
        ({"std_east_m": math.inf}, Refusal.NOT_A_POSITION),
        ({"std_north_m": 1e200}, Refusal.NOT_A_POSITION),
        ({"cov_north_east_m2": math.nan}, Refusal.NOT_A_POSITION),
        ({"std_north_m": 0.0, "std_east_m": 0.0}, Refusal.NOT_A_POSITION),
        ({"std_north_m": 20.1}, Refusal.TOO_WIDE),
    ],
)
def test_no_position_is_given_when_any_part_of_it_is_none(make_fix, say, changes, refusal):
    profile = GpsInputProfile()
    assert say(profile, make_fix(10.0, **changes), 10.1) == []
    assert profile.refusals == {refusal: 1}
    assert not profile.has_given


@pytest.mark.parametrize("alt_m", [math.nan, math.inf, -math.inf, 1e39])
def test_no_position_is_given_without_an_altitude(make_fix, say, alt_m):
    profile = GpsInputProfile()
    assert say(profile, make_fix(10.0), 10.1, alt_m=alt_m) == []
    assert profile.refusals == {Refusal.NO_ALTITUDE: 1}


def test_a_fix_without_velocity_is_a_loss_when_velocity_is_required(make_fix, say):
    # An ignored field keeps its last value in ArduPilot: measured, this ended in an EKF failsafe in flight.
    profile = GpsInputProfile(GpsInputConfig(require_velocity=True))
    assert say(profile, make_fix(10.0, **FIELDS_OF_MOTION), 10.1)[0].fix_type == 3
    assert say(profile, make_fix(10.2), 10.3)[0].fix_type == 1
    assert profile.refusals == {Refusal.NO_VELOCITY: 1}


def test_a_fix_is_never_given_twice_nor_an_older_one_after_it(make_fix, say):
    profile, fix = GpsInputProfile(), make_fix(10.0)
    assert len(say(profile, fix, 10.1)) == 1
    assert say(profile, fix, 10.2) == []
    assert say(profile, replace(fix, lat_deg=51.0), 10.2) == []
    assert say(profile, make_fix(9.9), 10.3) == []
    assert profile.refusals == {Refusal.REPEATED: 3}
    assert profile.giving


def test_a_fix_of_another_clock_or_too_old_is_not_given(make_fix, say):
    profile = GpsInputProfile()
    assert say(profile, make_fix(10.0), 11.5) == []
    assert say(profile, make_fix(500.0), 11.5) == []
    assert say(profile, make_fix(11.4), 11.5) != []
    assert profile.refusals == {Refusal.LATE: 1, Refusal.OTHER_CLOCK: 1}


@pytest.mark.parametrize("name", ["max_eph_m", "no_fix_tail_s", "stale_after_s", "std_alt_m"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_config_refuses_what_is_not_a_positive_number(name, value):
    with pytest.raises(ValueError, match=name):
        GpsInputConfig(**{name: value})
