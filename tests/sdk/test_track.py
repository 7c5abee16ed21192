import math

import numpy as np
import pytest

from pilotage.track import Measurement, Track, TrackConfig
from pilotage.values import TrackState

CONFIG = TrackConfig()


def seen(north_m, east_m, *, strength=1.0, std_m=1.0):
    return Measurement(north_m, east_m, std_m, common_std_m=1.0, score=0.4, strength=strength)


def acquired(*, speed=12.0, until_s=1.0, rate_hz=8.0):
    """A track that follows a vehicle going east from the origin."""
    track = Track(CONFIG)
    for i in range(int(until_s * rate_hz) + 1):
        time_s = i / rate_hz
        track.predict(time_s)
        here = seen(0.0, speed * time_s)
        if track.active:
            assert track.offer(here)
        else:
            track.acquire([here])
    assert track.state is TrackState.TRACKING
    return track


def test_track_starts_searching_and_acquires_on_the_fourth_agreeing_frame():
    track = Track(CONFIG)
    assert track.state is TrackState.INIT
    states = []
    for i in range(4):
        track.predict(i * 0.125)
        track.acquire([seen(1.0 * i, 2.0 * i)])
        states.append(track.state)
    assert states == [TrackState.SEARCHING] * 3 + [TrackState.TRACKING]


def test_track_does_not_acquire_weak_agreement():
    track = Track(CONFIG)
    for i in range(40):
        track.predict(i * 0.125)
        track.acquire([seen(0.2 * i, 0.0, strength=0.9 * CONFIG.acquire_strength)])
    assert track.state is TrackState.SEARCHING


def test_track_does_not_acquire_places_that_jump():
    rng = np.random.default_rng(3)
    track = Track(CONFIG)
    for i in range(60):
        track.predict(i * 0.125)
        track.acquire([seen(*rng.uniform(-900, 900, 2)) for _ in range(2)])
    assert track.state is TrackState.SEARCHING


def test_track_picks_the_consistent_place_among_lookalikes():
    rng = np.random.default_rng(4)
    track = Track(CONFIG)
    for i in range(4):
        track.predict(i * 0.125)
        track.acquire([seen(*rng.uniform(-900, 900, 2)), seen(100 + 1.5 * i, -50.0), seen(*rng.uniform(-900, 900, 2))])
    assert track.state is TrackState.TRACKING
    assert track.position_m == (pytest.approx(104.5, abs=1), pytest.approx(-50, abs=1))


def test_track_acquires_from_sparse_frames_over_other_ground():
    track = Track(CONFIG)
    for i in range(3):
        track.predict(4.0 * i)
        track.acquire([seen(70.0 * i, 0.0)])
    assert track.state is TrackState.TRACKING


def test_track_learns_the_velocity():
    track = acquired(speed=12.0, until_s=4.0)
    assert track.velocity_m_s == (pytest.approx(0, abs=0.3), pytest.approx(12, abs=0.3))
    assert track.velocity_std_m_s < 2.5


def test_track_rejects_an_outlier_and_stays():
    track = acquired()
    before = track.position_m
    track.predict(1.125)
    assert not track.offer(seen(80.0, 12.0))
    assert track.position_m[0] == pytest.approx(before[0], abs=0.5)


def test_track_rejects_what_is_not_a_number():
    track = acquired()
    track.predict(1.125)
    assert not track.offer(seen(math.nan, 12.0))
    assert all(map(math.isfinite, track.position_m))


def test_track_restarts_where_several_contradictions_agree():
    track = acquired()
    for i in range(1, 5):
        track.predict(1.0 + i * 0.125)
        track.offer(seen(60.0, 12.0 + 1.5 * i))
    assert track.state is TrackState.TRACKING
    assert track.position_m[0] == pytest.approx(60, abs=3)


def test_track_degrades_then_is_lost_and_never_shrinks_meanwhile():
    track = acquired()
    stds, states = [], []
    for i in range(1, 80):
        track.predict(1.0 + i * 0.125)
        track.offer(None)
        if track.active:
            stds.append(track.std_m())
        states.append(track.state)
    assert np.all(np.diff(stds) > 0)
    assert states[3] is TrackState.TRACKING
    assert states[12] is TrackState.DEGRADED
    assert states[-1] is TrackState.LOST
    assert not track.active


def test_track_acquires_again_after_being_lost():
    track = acquired()
    track.predict(30.0)
    track.offer(None)
    assert track.state is TrackState.LOST
    for i in range(4):
        track.predict(30.0 + i * 0.125)
        track.acquire([seen(500.0, 500.0 + i)])
    assert track.state is TrackState.TRACKING


def test_track_covariance_holds_its_errors():
    """A vehicle that turns, frames with noise and a common error: the claimed sigma is what the errors are."""
    rng = np.random.default_rng(11)
    inside, total = 0, 0
    for _ in range(40):
        track, common = Track(CONFIG), rng.normal(0, 1.0, 2)
        heading, place = rng.uniform(0, 6), np.zeros(2)
        for i in range(120):
            heading += 0.15 * math.sin(i / 15) * 0.125
            place = place + 12 * 0.125 * np.array([math.cos(heading), math.sin(heading)])
            track.predict(i * 0.125)
            here = seen(*(place + common + rng.normal(0, 1.0, 2)))
            track.offer(here) if track.active else track.acquire([here])
            if track.active and i > 20:
                error = np.abs(np.array(track.position_m) - place)
                inside += int(np.sum(error <= np.sqrt(np.diag(track.covariance_m2()))))
                total += 2
    assert 0.60 <= inside / total <= 0.80
