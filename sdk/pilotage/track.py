"""Join single-frame positions over time: acquire only what agrees with itself, predict, gate, grow, give up.

A constant-velocity Kalman filter on local north/east metres. What it reports is the filter's covariance plus a
common part that averaging cannot remove (a tilt bias moves every frame the same way), so that 1 sigma means 1 sigma.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilotage.values import TrackState


@dataclass(frozen=True, slots=True)
class TrackConfig:
    """The process model, the gate and the thresholds between states."""

    accel_std_m_s2: float = 3.0
    accel_hold_s: float = 1.5  # a turn lasts: accelerations of successive frames are not independent
    max_speed_m_s: float = 45.0
    acquire_hits: int = 4  # frames that must agree; one that shows other ground than the last counts twice
    acquire_window_s: float = 15.0  # ... within this time
    acquire_window_frames: int = 24  # ... and among this many
    acquire_tolerance_m: float = 9.0
    other_ground_m: float = 60.0  # frames this far apart are independent witnesses
    # Successive frames show nearly the same ground, so a lookalike agrees with itself for seconds: counting frames is
    # not enough, they must also be strong together. See RefineConfig.min_strength for what chance gives.
    acquire_strength: float = 0.36  # mean over the agreeing frames
    gate_sigma: float = 4.0
    degraded_after_s: float = 1.0  # without a match
    lost_after_s: float = 15.0  # however well the ground's motion carries it
    lost_std_m: float = 25.0
    lost_misses: int = 10  # frames in a row that contradict the track


@dataclass(frozen=True, slots=True)
class Measurement:
    """A position of the camera from one frame, in local metres."""

    north_m: float
    east_m: float
    std_m: float  # what changes from frame to frame
    common_std_m: float  # what does not: attitude and height bias, map registration
    score: float  # agreement of frame and map, 0..1
    strength: float  # how far it was from chance; see refine.Alignment


class Track:
    """The filter and its state. Time is an argument, always; nothing here reads a clock."""

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self.state = TrackState.INIT
        self._x: NDArray[np.float64] = np.zeros(4)  # north, east, north velocity, east velocity
        self._p: NDArray[np.float64] = np.eye(4)
        self._time_s = -math.inf
        self._matched_s = -math.inf
        self._common_std_m = 0.0
        self._misses = 0
        self._recent: deque[tuple[float, list[Measurement]]] = deque(maxlen=config.acquire_window_frames)

    @property
    def active(self) -> bool:
        """Whether there is a position to predict from."""
        return self.state in (TrackState.TRACKING, TrackState.DEGRADED)

    @property
    def position_m(self) -> tuple[float, float]:
        """North, east metres at the last time given."""
        return float(self._x[0]), float(self._x[1])

    @property
    def velocity_m_s(self) -> tuple[float, float]:
        """North, east metres a second."""
        return float(self._x[2]), float(self._x[3])

    @property
    def velocity_std_m_s(self) -> float:
        """The larger 1 sigma of the two velocities."""
        return math.sqrt(max(self._p[2, 2], self._p[3, 3]))

    def covariance_m2(self) -> NDArray[np.float64]:
        """Return the honest 2x2 covariance of the position."""
        return np.asarray(self._p[:2, :2] + np.eye(2) * self._common_std_m**2)

    def std_m(self) -> float:
        """Return the larger 1 sigma of the position."""
        return math.sqrt(float(np.linalg.eigvalsh(self.covariance_m2())[-1]))

    def age_s(self, time_s: float) -> float:
        """Return the time since the last accepted measurement."""
        return time_s - self._matched_s

    def gate_radius_m(self) -> float:
        """Return how far from the prediction the truth may be."""
        return self._config.gate_sigma * self.std_m()

    def predict(self, time_s: float) -> None:
        """Carry the state to this time."""
        if self.state is TrackState.INIT:
            self.state = TrackState.SEARCHING
        if self.active and time_s > self._time_s:
            dt = time_s - self._time_s
            step = np.eye(4)
            step[0, 2] = step[1, 3] = dt
            density = self._config.accel_std_m_s2**2 * self._config.accel_hold_s
            grown = np.kron([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]], np.eye(2)) * density
            self._x = step @ self._x
            self._p = step @ self._p @ step.T + grown
        self._time_s = time_s

    def offer(self, measurement: Measurement | None) -> bool:
        """Update an active track with what the frame near the prediction gave; return whether it was accepted."""
        accepted = measurement is not None and self._gate(measurement)
        if accepted and measurement is not None:
            self._update(measurement)
            self._recent.clear()
        elif measurement is not None:
            # A frame that sees nothing says nothing; one that sees another place contradicts, and when several
            # agree with each other and not with the track, they are right and the track starts again.
            self._misses += 1
            accepted = self.acquire([measurement])
        self._judge()
        return accepted

    def offer_velocity(self, north_m_s: float, east_m_s: float, *, std_m_s: float) -> None:
        """Update an active track with a speed over the ground, if it lies within the gate."""
        innovation = np.array([north_m_s, east_m_s]) - self._x[2:]
        spread = self._p[2:, 2:] + np.eye(2) * std_m_s**2
        if not float(innovation @ np.linalg.solve(spread, innovation)) <= self._config.gate_sigma**2:
            return
        self._fold(np.eye(2, 4, 2), innovation, std_m_s)

    def miss(self) -> None:
        """Note a frame that could not be used at all; only time counts against the track."""
        self._judge()

    def acquire(self, candidates: list[Measurement]) -> bool:
        """Look for a place that several recent frames agree on; become TRACKING when there is one."""
        config = self._config
        while self._recent and self._recent[0][0] < self._time_s - config.acquire_window_s:
            self._recent.popleft()
        best: list[tuple[float, Measurement]] = []
        for candidate in candidates:
            for past_s, past in self._recent:
                for other in past:
                    line = self._agreeing(candidate, past_s, other)
                    if self._witnesses(line) > self._witnesses(best):
                        best = line
        self._recent.append((self._time_s, candidates))
        if self._witnesses(best) < config.acquire_hits:
            return False
        if sum(m.strength for _, m in best) / len(best) < config.acquire_strength:
            return False
        self._start(best)
        self._recent.clear()
        return True

    def _witnesses(self, line: list[tuple[float, Measurement]]) -> int:
        """Count agreeing frames, newest first."""
        count, last = 0, None
        for _, here in line:
            apart_m = math.inf if last is None else math.hypot(here.north_m - last.north_m, here.east_m - last.east_m)
            count += 1 if last is None or apart_m < self._config.other_ground_m else 2
            last = here
        return count

    def _agreeing(self, now: Measurement, past_s: float, past: Measurement) -> list[tuple[float, Measurement]]:
        """Return the candidates, one a frame, on the straight path through `past` and `now`."""
        dt = self._time_s - past_s
        if dt <= 0:
            return []
        speed_n, speed_e = (now.north_m - past.north_m) / dt, (now.east_m - past.east_m) / dt
        slack = 2 * self._config.acquire_tolerance_m / dt
        if math.hypot(speed_n, speed_e) > self._config.max_speed_m_s + slack:
            return []
        line = [(self._time_s, now)]
        for time_s, candidates in reversed(self._recent):
            back = self._time_s - time_s
            # between the two that make the line the vehicle may have been off it by half an acceleration
            reach_m = self._config.acquire_tolerance_m + 0.125 * self._config.accel_std_m_s2 * dt * dt
            near = [
                (math.hypot(c.north_m - now.north_m + speed_n * back, c.east_m - now.east_m + speed_e * back), i)
                for i, c in enumerate(candidates)
            ]
            if near and min(near)[0] <= reach_m:
                line.append((time_s, candidates[min(near)[1]]))
        return line

    def _start(self, line: list[tuple[float, Measurement]]) -> None:
        """Fit a straight, steady path to the agreeing frames and track from there."""
        times = np.array([time_s for time_s, _ in line]) - self._time_s
        places = np.array([[m.north_m, m.east_m] for _, m in line])
        design = np.column_stack([np.ones_like(times), times])
        solution = np.linalg.lstsq(design, places, rcond=None)[0]
        std = max(m.std_m for _, m in line) + 1.0
        spread = max(float(np.sqrt(np.mean(times * times))), 0.1)
        self._x = np.concatenate([solution[0], solution[1]])
        self._p = np.diag([std**2, std**2, (2 * std / spread) ** 2, (2 * std / spread) ** 2])
        self._common_std_m = line[0][1].common_std_m
        self._matched_s = self._time_s
        self._misses = 0
        self.state = TrackState.TRACKING

    def _gate(self, measurement: Measurement) -> bool:
        delta = np.array([measurement.north_m, measurement.east_m]) - self._x[:2]
        spread = self._p[:2, :2] + np.eye(2) * (measurement.std_m**2 + 0.25 * measurement.common_std_m**2)
        return float(delta @ np.linalg.solve(spread, delta)) <= self._config.gate_sigma**2

    def _update(self, measurement: Measurement) -> None:
        self._fold(np.eye(2, 4), np.array([measurement.north_m, measurement.east_m]) - self._x[:2], measurement.std_m)
        self._common_std_m += 0.2 * (measurement.common_std_m - self._common_std_m)
        self._matched_s = self._time_s
        self._misses = 0

    def _fold(self, h: NDArray[np.float64], innovation: NDArray[np.float64], std: float) -> None:
        """The Kalman update, in Joseph's form, which stays positive."""
        spread = h @ self._p @ h.T + np.eye(2) * std**2
        gain = np.linalg.solve(spread, h @ self._p).T
        self._x = self._x + gain @ innovation
        keep = np.eye(4) - gain @ h
        self._p = keep @ self._p @ keep.T + gain @ gain.T * std**2

    def _judge(self) -> None:
        if not self.active:
            return
        config, age_s = self._config, self.age_s(self._time_s)
        finite = bool(np.all(np.isfinite(self._x)) and np.all(np.isfinite(self._p)))
        gone = age_s > config.lost_after_s or self._misses >= config.lost_misses
        if not finite or gone or self.std_m() > config.lost_std_m:
            self.state = TrackState.LOST
            self._recent.clear()
        else:
            self.state = TrackState.DEGRADED if age_s > config.degraded_after_s else TrackState.TRACKING
