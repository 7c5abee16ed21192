"""GPS weeks against published dates and against datetime arithmetic that shares nothing with ours."""

from datetime import datetime, timedelta, timezone

import pytest

from pilotage_bridge.gps_time import UNKNOWN, ExposureClock, GpsTime, leap_seconds

UTC = timezone.utc


def utc_ms(*date):
    return round(datetime(*date, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("date", "week", "week_ms"),
    [
        ((1980, 1, 6), 0, 0),  # the epoch, when GPS and UTC were one
        (
            (1999, 8, 21, 23, 59, 47),
            1024,
            0,
        ),  # broadcast weeks roll over: 13 s then
        ((2019, 4, 6, 23, 59, 42), 2048, 0),  # the second rollover: 18 s
        ((2026, 1, 1), 2399, 4 * 86_400_000 + 18_000),  # a Thursday
        ((2026, 9, 20, 0, 0, 0), 2437, 18_000),  # a Sunday
        ((2026, 9, 19, 23, 59, 41), 2436, 7 * 86_400_000 - 1000),  # a second before the week turns
        ((2026, 9, 19, 23, 59, 42), 2437, 0),  # and as it turns, 18 s before midnight UTC
    ],
)
def test_gps_time_knows_dates(date, week, week_ms):
    assert GpsTime.from_utc_ms(utc_ms(*date)) == GpsTime(week, week_ms)


def test_gps_time_agrees_with_datetime_over_decades():
    epoch = datetime(1980, 1, 6, tzinfo=UTC)
    for day in range(0, 365 * 30, 97):
        moment = datetime(2017, 1, 1, 12, 34, 56, 789000, tzinfo=UTC) + timedelta(days=day)
        since = moment + timedelta(seconds=18) - epoch
        week, rest = divmod(since, timedelta(weeks=1))
        got = GpsTime.from_utc_ms(round(moment.timestamp() * 1000))
        assert (got.week, got.week_ms) == (week, rest // timedelta(milliseconds=1))


def test_leap_seconds_are_18_since_2017():
    before, after = utc_ms(2016, 12, 31, 23, 59, 59) / 1000, utc_ms(2017, 1, 1) / 1000
    assert (leap_seconds(before), leap_seconds(after), leap_seconds(2e9)) == (17, 18, 18)


def test_exposure_clock_dates_the_exposure_and_not_the_call():
    now_utc_s = utc_ms(2026, 9, 19, 23, 59, 42) / 1000 + 0.25
    gps, usec = ExposureClock().date(1_000_000_000, now_utc_s=now_utc_s, now_mono_s=1.25)
    assert gps == GpsTime(2437, 0)
    assert usec == utc_ms(2026, 9, 19, 23, 59, 42) * 1000


def test_exposure_clock_rises_strictly_when_utc_steps_back_and_stamps_share_a_millisecond():
    clock, seen = ExposureClock(), []
    for i, stamp_ns in enumerate((10_000_000_000, 10_000_200_000, 10_000_400_000, None, 10_200_000_000)):
        utc_s = 1.79e9 + stamp_ns / 1e9 if i == 0 else 1.75e9  # NTP steps back by a year
        gps, _ = clock.date(stamp_ns, now_utc_s=utc_s, now_mono_s=10.0)
        seen.append(gps.week * 604_800_000 + gps.week_ms)
    assert [t - seen[0] for t in seen] == [0, 1, 2, 3, 200]


@pytest.mark.parametrize("utc_s", [0.0, 86_400.0, 1_420_070_400.0, float("nan"), float("inf"), -1.0])
def test_exposure_clock_gives_week_zero_when_the_clock_was_never_set(utc_s):
    # AP_GPS_MAV uses the pair only with time_week > 0, and the time of arrival otherwise.
    gps, usec = ExposureClock().date(5_000_000_000, now_utc_s=utc_s, now_mono_s=5.1)
    assert gps == UNKNOWN
    assert usec == 5_000_000


def test_exposure_clock_begins_to_date_when_the_clock_gets_set():
    clock = ExposureClock()
    assert clock.date(1_000_000_000, now_utc_s=12.0, now_mono_s=1.0)[0] == UNKNOWN
    assert clock.date(2_000_000_000, now_utc_s=1.79e9, now_mono_s=2.0)[0].week == 2437
