"""What we say of ourselves, and when we do not."""

import pytest

from pilotage.values import TrackState
from pilotage_bridge.dialect import mavlink
from pilotage_bridge.heartbeat import Heartbeat, HeartbeatConfig, StatusText, encode_text


@pytest.mark.parametrize("rate_hz", [3.7, 4, 10, 30, 1000])
def test_heartbeat_comes_once_a_second_at_any_rate_of_calls(rate_hz):
    heartbeat, times = Heartbeat(), []
    for i in range(int(60 * rate_hz)):
        now_s = 1000.0 + i / rate_hz
        times += [now_s for _ in heartbeat.messages(TrackState.TRACKING, now_mono_s=now_s)]
    assert len(times) == 60
    assert times[0] == 1000.0
    assert max(abs(time - 1000.0 - i) for i, time in enumerate(times)) <= 1 / rate_hz


def test_heartbeat_does_not_catch_up_after_a_stall():
    heartbeat = Heartbeat()
    count = [len(heartbeat.messages(None, now_mono_s=t)) for t in (0.0, 60.0, 60.1, 60.9, 61.0)]
    assert count == [1, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (None, mavlink.MAV_STATE_BOOT),
        (TrackState.INIT, mavlink.MAV_STATE_CALIBRATING),
        (TrackState.SEARCHING, mavlink.MAV_STATE_STANDBY),
        (TrackState.TRACKING, mavlink.MAV_STATE_ACTIVE),
        (TrackState.DEGRADED, mavlink.MAV_STATE_ACTIVE),
        (TrackState.LOST, mavlink.MAV_STATE_CRITICAL),
    ],
)
def test_heartbeat_says_who_and_how_we_are(state, status):
    (message,) = Heartbeat().messages(state, now_mono_s=0.0)
    assert message.type == mavlink.MAV_TYPE_ONBOARD_CONTROLLER == 18
    # INVALID: a ground station looking for the vehicle passes us over.
    assert message.autopilot == mavlink.MAV_AUTOPILOT_INVALID == 8
    assert message.system_status == status


def test_heartbeat_stops_on_fault_and_resumes_after_it():
    heartbeat = Heartbeat()
    states = [TrackState.TRACKING] * 2 + [TrackState.FAULT] * 5 + [TrackState.SEARCHING] * 2
    count = [len(heartbeat.messages(state, now_mono_s=float(i))) for i, state in enumerate(states)]
    assert count == [1, 1, 0, 0, 0, 0, 0, 1, 1]


def texts(states, gap_s=1.0, config=None):
    status = StatusText(config)
    heard = []
    for i, state in enumerate(states):
        heard += [(i, m.severity, m.text) for m in status.messages(state, now_mono_s=i * gap_s)]
    return heard


def test_status_text_tells_changes_only():
    s = TrackState
    heard = texts([None, s.INIT, s.SEARCHING, s.TRACKING, s.TRACKING, s.DEGRADED, s.LOST, s.LOST, s.TRACKING])
    assert heard == [
        (1, mavlink.MAV_SEVERITY_INFO, "Pilotage: searching for a fix"),
        (3, mavlink.MAV_SEVERITY_NOTICE, "Pilotage: fix acquired"),
        (6, mavlink.MAV_SEVERITY_WARNING, "Pilotage: fix lost"),
        (8, mavlink.MAV_SEVERITY_NOTICE, "Pilotage: fix acquired"),
    ]


def test_status_text_is_not_a_flood_when_the_fix_flickers():
    flicker = [TrackState.TRACKING, TrackState.LOST] * 300
    heard = texts(flicker, gap_s=0.03, config=HeartbeatConfig(min_text_gap_s=1.0))
    assert 2 <= len(heard) <= 18


def test_status_text_tells_a_fault_at_once_because_nothing_follows():
    heard = texts([TrackState.TRACKING, TrackState.FAULT], gap_s=0.01)
    assert heard[1][1:] == (mavlink.MAV_SEVERITY_CRITICAL, "Pilotage: fault, heartbeat stops")


def test_status_text_fits_its_50_bytes():
    for state in TrackState:
        for message in StatusText().messages(state, now_mono_s=0.0):
            assert len(message.text) <= 50
    assert encode_text("Pilotage: " + "é" * 100) == b"Pilotage: " + b"?" * 40


@pytest.mark.parametrize("config", [{"period_s": 0.0}, {"period_s": float("nan")}, {"min_text_gap_s": -1.0}])
def test_heartbeat_config_refuses_what_is_not_a_time(config):
    with pytest.raises(ValueError, match="must be positive"):
        HeartbeatConfig(**config)
