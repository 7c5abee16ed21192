"""A fix to start from, and a link that keeps what it is given."""

import pytest

from pilotage.values import Fix, TrackState, Verdict

UTC_S = 1_790_000_000.0  # 2026-09-21T14:13:20Z, when the monotonic clock read 0


@pytest.fixture
def make_fix():
    def make(time_s, **changes):
        values = {
            "state": TrackState.TRACKING,
            "verdict": Verdict.MATCHED,
            "lat_deg": 50.8303111,
            "lon_deg": -0.1463333,
            "std_north_m": 3.0,
            "std_east_m": 2.0,
            **changes,
        }
        return Fix(stamp_ns=round(time_s * 1e9), **values)

    return make


@pytest.fixture
def make_lost():
    def make(time_s, state=TrackState.LOST):
        return Fix(stamp_ns=round(time_s * 1e9), state=state, verdict=Verdict.NO_MATCH)

    return make


@pytest.fixture
def say():
    """Ask a profile what it sends for a fix at a monotonic time, with clocks that agree."""

    def ask(profile, fix, now_s, alt_m=120.0, utc_s=None):
        utc_s = UTC_S + now_s if utc_s is None else utc_s
        return profile.messages(fix, alt_msl_m=alt_m, now_utc_s=utc_s, now_mono_s=now_s)

    return ask
