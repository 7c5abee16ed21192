"""The publisher: positions first, heartbeats that tell the truth, texts when it changes."""

from collections import Counter

import pytest

from pilotage.values import TrackState
from pilotage_bridge.gps_input import GpsInputConfig
from pilotage_bridge.publisher import Publisher, PublisherConfig


class Tape:
    """A link that keeps what it is given."""

    def __init__(self):
        self.messages = []

    def send(self, message):
        self.messages.append(message)
        return 10

    def kinds(self):
        return [message.get_type() for message in self.messages]

    def texts(self):
        return [m.text for m in self.messages if m.get_type() == "STATUSTEXT"]

    def statuses(self):
        return [m.system_status for m in self.messages if m.get_type() == "HEARTBEAT"]


@pytest.fixture
def tape():
    return Tape()


def run(publisher, fixes, *, until_s, step_s=0.1):
    written = 0
    for i in range(round(until_s / step_s) + 1):
        now_s = round(i * step_s, 6)
        written += publisher.publish(fixes.get(now_s), 100.0, now_utc_s=1.79e9 + now_s, now_mono_s=now_s)
    return written


def test_publisher_sends_the_position_before_the_rest_and_counts_bytes(tape, make_fix):
    written = Publisher(tape).publish(make_fix(1.0), 100.0, now_utc_s=1.79e9, now_mono_s=1.1)
    assert tape.kinds() == ["GPS_INPUT", "HEARTBEAT", "STATUSTEXT"]
    assert written == 30


def test_publisher_tells_a_whole_flight(tape, make_fix, make_lost):
    fixes = {t / 5: make_lost(t / 5, TrackState.SEARCHING) for t in range(10)}
    fixes |= {t / 5: make_fix(t / 5) for t in range(10, 50)}
    fixes |= {t / 5: make_lost(t / 5) for t in range(50, 100)}
    fixes |= {t / 5: make_fix(t / 5) for t in range(100, 150)}
    run(Publisher(tape), fixes, until_s=30)
    assert tape.texts() == [
        "Pilotage: searching for a fix",
        "Pilotage: fix acquired",
        "Pilotage: fix lost",
        "Pilotage: fix acquired",
    ]
    counts = Counter(tape.kinds())
    assert counts["HEARTBEAT"] == 31
    assert sum(m.get_type() == "GPS_INPUT" and m.fix_type == 3 for m in tape.messages) == 90
    assert tape.statuses() == [3, 3] + [4] * 8 + [5] * 10 + [4] * 11


def test_publisher_stops_its_heartbeat_on_fault(tape, make_fix, make_lost):
    fixes = {t / 5: make_fix(t / 5) for t in range(10)} | {2.0: make_lost(2.0, TrackState.FAULT)}
    run(Publisher(tape), fixes, until_s=20)
    assert len(tape.statuses()) == 2
    assert tape.texts()[-1] == "Pilotage: fault, heartbeat stops"
    assert tape.messages[-1].get_type() == "GPS_INPUT"  # the NO_FIX tail
    assert tape.messages[-1].fix_type == 1


def test_publisher_says_lost_when_the_localiser_stalls(tape, make_fix):
    run(Publisher(tape), {t / 5: make_fix(t / 5) for t in range(10)}, until_s=6)
    assert tape.texts()[-1] == "Pilotage: fix lost"
    assert tape.statuses() == [4, 4, 4, 5, 5, 5, 5]


def test_publisher_does_not_say_acquired_for_a_fix_that_it_does_not_give(tape, make_fix):
    publisher = Publisher(tape, PublisherConfig(gps_input=GpsInputConfig(max_eph_m=2.0)))
    run(publisher, {t / 5: make_fix(t / 5) for t in range(50)}, until_s=10)
    assert set(tape.kinds()) == {"HEARTBEAT", "STATUSTEXT"}
    assert tape.texts() == ["Pilotage: searching for a fix"]
    assert set(tape.statuses()) == {3}


def test_publisher_outside_the_region_gives_no_position_at_all(tape, make_lost):
    run(Publisher(tape), {t / 5: make_lost(t / 5, TrackState.SEARCHING) for t in range(300)}, until_s=60)
    assert "GPS_INPUT" not in tape.kinds()
