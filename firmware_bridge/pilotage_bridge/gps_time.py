"""GPS time out of UTC and a monotonic clock: what GPS_INPUT calls time_week and time_week_ms."""

from __future__ import annotations

import calendar
from bisect import bisect_right
from dataclasses import dataclass

GPS_EPOCH_UTC_MS = 315_964_800_000  # 1980-01-06T00:00:00Z
WEEK_MS = 7 * 86_400_000
# A clock outside these dates was never set (no battery, no network): 2025-01-01 and 2100-01-01.
PLAUSIBLE_UTC_S = (1_735_689_600.0, 4_102_444_800.0)

# First months after a leap second since the GPS epoch (IERS Bulletin C); none is announced after 2017-01.
# GPS time has no leap seconds, so that GPS - UTC is the number of these behind us: 18 s today.
_LEAP_DAYS = (
    *((1981, 7), (1982, 7), (1983, 7), (1985, 7), (1988, 1), (1990, 1), (1991, 1), (1992, 7), (1993, 7)),
    *((1994, 7), (1996, 1), (1997, 7), (1999, 1), (2006, 1), (2009, 1), (2012, 7), (2015, 7), (2017, 1)),
)
_LEAP_UTC_S = tuple(calendar.timegm((year, month, 1, 0, 0, 0)) for year, month in _LEAP_DAYS)


def leap_seconds(utc_s: float) -> int:
    """Return GPS minus UTC in seconds at this UNIX time."""
    return bisect_right(_LEAP_UTC_S, utc_s)


@dataclass(frozen=True, slots=True)
class GpsTime:
    """A week since 1980-01-06 (full count, not modulo 1024) and milliseconds into it. Week 0: not known."""

    week: int
    week_ms: int

    @classmethod
    def from_utc_ms(cls, utc_ms: int) -> GpsTime:
        """Convert UNIX milliseconds."""
        return cls(*divmod(utc_ms - GPS_EPOCH_UTC_MS + 1000 * leap_seconds(utc_ms / 1000), WEEK_MS))


UNKNOWN = GpsTime(0, 0)


class ExposureClock:
    """Dates exposures in GPS time: strictly rising, and deaf to later steps of the UTC clock.

    The offset between UTC and the monotonic clock is read once, at the first plausible UTC time. ArduPilot
    learns the transport delay from these stamps, and a step (NTP arriving in flight) would read as a delay of
    that size. With a clock that was never set the week is 0, for which ArduPilot falls back to the time of
    arrival (AP_GPS_MAV asks for time_week > 0).
    """

    def __init__(self) -> None:
        self._utc_minus_mono_ns: int | None = None
        self._last_utc_ms = 0

    def date(self, stamp_ns: int | None, *, now_utc_s: float, now_mono_s: float) -> tuple[GpsTime, int]:
        """Return GPS time and UNIX (undated: monotonic) microseconds of a stamp; None: the last + 1 ms."""
        if self._utc_minus_mono_ns is None and PLAUSIBLE_UTC_S[0] <= now_utc_s < PLAUSIBLE_UTC_S[1]:
            self._utc_minus_mono_ns = round((now_utc_s - now_mono_s) * 1e9)
        if self._utc_minus_mono_ns is None:
            return UNKNOWN, max(0, round(now_mono_s * 1e6) if stamp_ns is None else stamp_ns // 1000)
        exposed_ms = 0 if stamp_ns is None else (stamp_ns + self._utc_minus_mono_ns) // 1_000_000
        self._last_utc_ms = max(exposed_ms, self._last_utc_ms + 1)
        return GpsTime.from_utc_ms(self._last_utc_ms), self._last_utc_ms * 1000
