"""Fix -> GPS_INPUT (232), the one message that stock ArduPilot takes as a GPS. Pure: time is an argument.

Each choice follows what AP_GPS_MAV and EKF3 do with the field (read in ArduPilot master, December 2025):

- altitude is always sent: with its ignore flag ArduPilot takes 0 m;
- an ignored field keeps its previous value there: a velocity sent once and then withheld stays in force;
- `horiz_accuracy` is the fix's own 1-sigma. EKF3 wants 5 m (x EK3_CHECK_SCALE) before take-off; a matcher
  that is honestly at 8 m does not pass, and the answer is the parameter, not the number;
- `satellites_visible` and the DOPs describe a sky we have not seen. They are constants that pass ArduPilot's
  pre-arm checks (6 satellites, HDOP 2.5; 1.4 for GPS_HDOP_GOOD) and measure nothing.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from dataclasses import dataclass

from pilotage.values import Fix
from pilotage_bridge.dialect import Message, mavlink
from pilotage_bridge.gps_time import ExposureClock

NO_VELOCITY = 8 | 16 | 32  # ignore horizontal velocity, vertical velocity, speed accuracy
NO_VERTICAL_VELOCITY = 16  # a Fix has none
FIX_TYPE_NO_FIX, FIX_TYPE_3D = 1, 3
# ArduPilot stores DOP x 100 in 16 bits, where 9999 reads as bad and the 65535 of the specification overflows.
BAD_DOP = 99.99
BAD_ACCURACY_M = 9999.0
_AHEAD_S = 0.05  # an exposure this far in the future is on another clock
_MAX_ALT_M, _MAX_SPEED_M_S = 100_000.0, 1000.0


class Refusal(enum.Enum):
    """Why a fix was not given to the autopilot."""

    NO_POSITION = "no-position"
    REPEATED = "repeated"  # not newer than the one given before
    LATE = "late"  # older than max_delay_s
    OTHER_CLOCK = "other-clock"  # from the future: stamps and now_mono_s are not one clock
    NOT_A_POSITION = "not-a-position"  # not finite, out of range, exactly 0, 0, or a sigma that is none
    TOO_WIDE = "too-wide"  # 1-sigma above max_eph_m
    NO_ALTITUDE = "no-altitude"
    NO_VELOCITY = "no-velocity"  # and the configuration requires it


_PASSED_OVER = (Refusal.REPEATED, Refusal.LATE, Refusal.OTHER_CLOCK)  # says nothing about where we are now


@dataclass(frozen=True, slots=True)
class GpsInputConfig:
    """How a fix becomes GPS_INPUT."""

    gps_id: int = 0  # must equal the autopilot's driver instance, from 0, or the message is dropped there
    max_eph_m: float = 20.0  # no position above this 1-sigma: its 95 % radius is 49 m
    no_fix_tail_s: float = 2.0  # NO_FIX for this long after a loss, then silence
    no_fix_period_s: float = 0.2
    stale_after_s: float = 1.0  # no new fix for this long is a loss
    max_delay_s: float = 1.0  # exposure to now; EKF3 can compensate 0.25 s at most
    std_alt_m: float = 5.0  # 1-sigma of the altitude that the caller passes
    # Set with EK3_SRC1_VELXY=3: EKF3 would go on fusing the last velocity sent.
    require_velocity: bool = False
    dop: float = 1.0
    satellites: int = 10

    def __post_init__(self) -> None:
        times = ("no_fix_tail_s", "no_fix_period_s", "stale_after_s", "max_delay_s")
        for name in (*times, "max_eph_m", "std_alt_m", "dop"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: give a positive number")
        if not (0 <= self.gps_id <= 255 and 0 <= self.satellites <= 255):
            raise ValueError(f"gps_id {self.gps_id} and satellites {self.satellites} must be within 0..255")


class GpsInputProfile:
    """Turns fixes into GPS_INPUT messages, says NO_FIX for a while when they end, then nothing.

    Before the first fix there is silence, not NO_FIX: every GPS_INPUT carries a latitude and a longitude,
    which ArduPilot copies whatever the fix type is, and we have none to give but 0, 0. The heartbeat tells
    that we are there. After a loss NO_FIX carries the last position, as receivers do, with fix type 1 and an
    accuracy of 9999 m. The tail counts from the moment the loss is noticed. No 3D fix is ever sent twice.
    """

    def __init__(self, config: GpsInputConfig | None = None) -> None:
        self.config = config or GpsInputConfig()
        self.refusals: Counter[Refusal] = Counter()
        self._clock = ExposureClock()
        self._place: tuple[int, int, float] | None = None  # last given: degE7, degE7, metres
        self._stamp_ns = 0
        self._given_mono_s = self._no_fix_mono_s = -math.inf
        self._lost_mono_s: float | None = None

    @property
    def has_given(self) -> bool:
        """Whether a position was ever given."""
        return self._place is not None

    @property
    def giving(self) -> bool:
        """Whether a position was given and has not been lost since."""
        return self.has_given and self._lost_mono_s is None

    def messages(self, fix: Fix | None, *, alt_msl_m: float, now_utc_s: float, now_mono_s: float) -> list[Message]:
        """Return what to send now: a position, a NO_FIX, or nothing. Without a fix this only lets time pass.

        `now_mono_s` is the clock of `fix.stamp_ns`, in seconds; `alt_msl_m` the altitude of the camera above
        mean sea level at that exposure.
        """
        if fix is not None:
            refusal = self._refusal(fix, alt_msl_m, now_mono_s)
            if refusal is None:
                return [self._position(fix, alt_msl_m, now_utc_s=now_utc_s, now_mono_s=now_mono_s)]
            self.refusals[refusal] += 1
            if self.giving and refusal not in _PASSED_OVER:
                self._lost_mono_s = now_mono_s
        if self.giving and now_mono_s - self._given_mono_s > self.config.stale_after_s:
            self._lost_mono_s = now_mono_s
        return self._farewell(now_utc_s=now_utc_s, now_mono_s=now_mono_s)

    def _refusal(self, fix: Fix, alt_msl_m: float, now_mono_s: float) -> Refusal | None:
        delay_s = now_mono_s - fix.stamp_ns / 1e9
        std_m = _std_m(fix)
        checks = (
            (fix.has_position, Refusal.NO_POSITION),
            (not self.has_given or fix.stamp_ns > self._stamp_ns, Refusal.REPEATED),
            (delay_s >= -_AHEAD_S, Refusal.OTHER_CLOCK),
            (delay_s <= self.config.max_delay_s, Refusal.LATE),
            (_on_earth(fix.lat_deg, fix.lon_deg) and 0 < std_m < math.inf, Refusal.NOT_A_POSITION),
            (std_m <= self.config.max_eph_m, Refusal.TOO_WIDE),
            (abs(alt_msl_m) < _MAX_ALT_M, Refusal.NO_ALTITUDE),
            (not self.config.require_velocity or _has_velocity(fix), Refusal.NO_VELOCITY),
        )
        return next((refusal for passed, refusal in checks if not passed), None)

    def _position(self, fix: Fix, alt_msl_m: float, *, now_utc_s: float, now_mono_s: float) -> Message:
        self._place = (round(fix.lat_deg * 1e7), round(fix.lon_deg * 1e7), alt_msl_m)
        self._stamp_ns, self._given_mono_s, self._lost_mono_s = fix.stamp_ns, now_mono_s, None
        moving = _has_velocity(fix)
        gps, time_usec = self._clock.date(fix.stamp_ns, now_utc_s=now_utc_s, now_mono_s=now_mono_s)
        return mavlink.MAVLink_gps_input_message(
            time_usec=time_usec,
            gps_id=self.config.gps_id,
            ignore_flags=NO_VERTICAL_VELOCITY if moving else NO_VELOCITY,
            time_week_ms=gps.week_ms,
            time_week=gps.week,
            fix_type=FIX_TYPE_3D,
            lat=self._place[0],
            lon=self._place[1],
            alt=alt_msl_m,
            hdop=self.config.dop,
            vdop=self.config.dop,
            vn=fix.velocity_north_m_s if moving else 0.0,
            ve=fix.velocity_east_m_s if moving else 0.0,
            vd=0.0,
            speed_accuracy=fix.std_velocity_m_s if moving else 0.0,
            horiz_accuracy=fix.std_horizontal_m,  # never clamped
            vert_accuracy=self.config.std_alt_m,
            satellites_visible=self.config.satellites,
            yaw=0,  # not provided: the compass keeps the heading
        )

    def _farewell(self, *, now_utc_s: float, now_mono_s: float) -> list[Message]:
        if self._lost_mono_s is None or self._place is None:
            return []
        if now_mono_s - self._lost_mono_s > self.config.no_fix_tail_s:
            return []
        if now_mono_s - self._no_fix_mono_s < self.config.no_fix_period_s - 1e-3:
            return []
        self._no_fix_mono_s = now_mono_s
        gps, time_usec = self._clock.date(None, now_utc_s=now_utc_s, now_mono_s=now_mono_s)
        lat, lon, alt_m = self._place
        return [
            mavlink.MAVLink_gps_input_message(
                time_usec=time_usec,
                gps_id=self.config.gps_id,
                ignore_flags=NO_VELOCITY,
                time_week_ms=gps.week_ms,
                time_week=gps.week,
                fix_type=FIX_TYPE_NO_FIX,
                lat=lat,
                lon=lon,
                alt=alt_m,
                hdop=BAD_DOP,
                vdop=BAD_DOP,
                vn=0.0,
                ve=0.0,
                vd=0.0,
                speed_accuracy=0.0,
                horiz_accuracy=BAD_ACCURACY_M,
                vert_accuracy=BAD_ACCURACY_M,
                satellites_visible=0,
                yaw=0,
            )
        ]


def _on_earth(lat_deg: float, lon_deg: float) -> bool:
    in_range = -90.0 <= lat_deg <= 90.0 and -180.0 <= lon_deg <= 180.0
    return in_range and (round(lat_deg * 1e7), round(lon_deg * 1e7)) != (0, 0)


def _std_m(fix: Fix) -> float:
    sane = max(abs(fix.std_north_m), abs(fix.std_east_m)) < 1e6 and abs(fix.cov_north_east_m2) < 1e12
    return fix.std_horizontal_m if sane else math.nan


def _has_velocity(fix: Fix) -> bool:
    speeds = (fix.velocity_north_m_s, fix.velocity_east_m_s)
    return all(abs(speed) < _MAX_SPEED_M_S for speed in speeds) and 0 < fix.std_velocity_m_s < _MAX_SPEED_M_S
