"""What an autopilot sees when fixes end: NO_FIX for a while, then silence, never the last fix again."""

import math
from itertools import pairwise

from pilotage.values import TrackState
from pilotage_bridge.gps_input import GpsInputConfig, GpsInputProfile


def timeline(profile, say, fixes, *, until_s, step_s=0.1):
    """Return [(time, fix_type, message)] of asking every step, with the fix that is due, else None."""
    heard = []
    for i in range(round(until_s / step_s) + 1):
        now_s = round(i * step_s, 6)
        heard += [(now_s, m.fix_type, m) for m in say(profile, fixes.get(now_s), now_s)]
    return heard


def test_before_the_first_fix_there_is_silence(say, make_lost):
    # Every GPS_INPUT carries a latitude and a longitude, which the driver copies at any fix type.
    fixes = {0.0: make_lost(0.0, TrackState.INIT), 0.5: make_lost(0.5, TrackState.SEARCHING)}
    assert timeline(GpsInputProfile(), say, fixes, until_s=5) == []


def test_loss_is_told_at_once_for_two_seconds_then_nothing(say, make_fix, make_lost):
    fixes = {t / 5: make_fix(t / 5) for t in range(11)}
    fixes |= {t / 5: make_lost(t / 5) for t in range(11, 60)}
    heard = timeline(GpsInputProfile(), say, fixes, until_s=12)
    assert [t for t, kind, _ in heard if kind == 3] == [t / 5 for t in range(11)]
    no_fix = [t for t, kind, _ in heard if kind == 1]
    assert no_fix[0] == 2.2
    assert no_fix[-1] <= 4.2
    assert 8 <= len(no_fix) <= 11  # at 5 Hz


def test_loss_is_noticed_when_fixes_just_stop(say, make_fix):
    fixes = {t / 5: make_fix(t / 5) for t in range(6)}
    heard = timeline(GpsInputProfile(), say, fixes, until_s=10)
    no_fix = [t for t, kind, _ in heard if kind == 1]
    assert 2.0 < no_fix[0] <= 2.2  # the last at 1.0 s, stale after 1 s
    assert no_fix[-1] <= no_fix[0] + 2.0


def test_loss_follows_a_covariance_that_grew_too_wide(say, make_fix):
    # Dead reckoning: sigma grows by 4 m a second.
    fixes = {
        t / 5: make_fix(t / 5, state=TrackState.DEGRADED, std_north_m=3 + 0.8 * t, std_east_m=3 + 0.8 * t)
        for t in range(50)
    }
    heard = timeline(GpsInputProfile(), say, fixes, until_s=10)
    given = [m.horiz_accuracy for _, kind, m in heard if kind == 3]
    assert given == sorted(given)
    assert max(given) <= 20.0
    assert [kind for _, kind, _ in heard] == [3] * len(given) + [1] * (len(heard) - len(given))
    assert len(heard) > len(given)


def test_no_fix_carries_no_claim_and_no_zero(say, make_fix, make_lost):
    profile = GpsInputProfile()
    (good,) = say(profile, make_fix(1.0), 1.0)
    (bad,) = say(profile, make_lost(1.2), 1.2)
    assert bad.fix_type == 1
    assert bad.ignore_flags == 8 | 16 | 32
    assert (bad.lat, bad.lon, bad.alt) == (good.lat, good.lon, good.alt)
    assert bad.horiz_accuracy >= 1000
    assert bad.hdop * 100 < 65536  # what ArduPilot computes, in 16 bits
    assert bad.satellites_visible == 0
    assert all(math.isfinite(v) for v in (bad.alt, bad.vn, bad.ve, bad.vd, bad.vert_accuracy))


def test_fix_after_a_loss_is_given_at_once_and_a_second_loss_is_told_again(say, make_fix, make_lost):
    profile = GpsInputProfile()
    script = [make_fix(1.0), make_lost(1.2), make_fix(1.4), make_lost(1.6), make_lost(1.8), make_fix(60.0)]
    kinds = [[m.fix_type for m in say(profile, fix, fix.stamp_ns / 1e9)] for fix in script]
    assert kinds == [[3], [1], [3], [1], [1], [3]]


def test_time_of_what_is_sent_rises_strictly_through_losses(say, make_fix, make_lost):
    profile, sent = GpsInputProfile(GpsInputConfig(no_fix_tail_s=5.0)), []
    for i in range(200):
        exposed_s = i * 0.1
        lost = i % 20 >= 14
        fix = None if i % 7 == 3 else (make_lost(exposed_s) if lost else make_fix(exposed_s))
        sent += say(profile, fix, exposed_s + 0.15)
    times = [m.time_week * 604_800_000 + m.time_week_ms for m in sent]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert {1, 3} == {m.fix_type for m in sent}
    assert max(m.time_usec for m in sent) <= (1_790_000_000 + 20) * 1_000_000


def test_a_mad_stamp_without_a_position_does_not_poison_the_time(say, make_fix, make_lost):
    profile = GpsInputProfile()
    say(profile, make_fix(1.0), 1.0)
    say(profile, make_lost(9e8), 1.2)
    (message,) = say(profile, make_fix(1.4), 1.4)
    assert message.time_usec == 1_790_000_001_400_000
