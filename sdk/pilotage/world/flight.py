"""Simulated flights: a smooth path with wind and gusts, sensors that lie a little, and the truth beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pilotage.camera import Camera
from pilotage.values import Frame, Truth
from pilotage.world.look import Look
from pilotage.world.nadir import Pose, ground_height_m, render_nadir
from pilotage.world.world import World

_GRAVITY_M_S2 = 9.81
_SPEED_M_S = 14.0


@dataclass(frozen=True, slots=True)
class SensorNoise:
    """1-sigma errors. *Slow* ones wander over about 20 s, as a bias does; *fast* ones are new in every frame."""

    tilt_slow_deg: float = 0.5
    tilt_fast_deg: float = 0.3
    yaw_slow_deg: float = 2.0
    yaw_fast_deg: float = 0.5
    height_slow: float = 0.02  # share of the height
    height_fast_m: float = 0.5


@dataclass(frozen=True, slots=True)
class FlightPlan:
    """A path through waypoints (north_m, east_m) at heights above the ground."""

    waypoints_m: tuple[tuple[float, float], ...]
    heights_m: tuple[float, ...]  # one a waypoint
    speed_m_s: float = _SPEED_M_S
    rate_hz: float = 8.0
    duration_s: float = 75.0
    wind_m_s: float = 4.0
    wind_from_rad: float = 0.8
    max_tilt_deg: float = 10.0
    noise: SensorNoise = SensorNoise()

    @classmethod
    def draw(cls, world: World, seed: int, *, duration_s: float = 75.0) -> FlightPlan:
        """Draw a winding flight that stays well inside the world, 80 to 150 m above its ground."""
        rng = np.random.default_rng([seed, 0xF17])
        reach_m = world.size_m / 2 - 220
        points = [rng.uniform(-reach_m, reach_m, 2) * 0.8]
        heading = rng.uniform(0, 2 * math.pi)
        length_m, need_m = 0.0, duration_s * _SPEED_M_S + 50
        while length_m < need_m:
            heading += rng.normal(0, 0.7)
            step = points[-1] + rng.uniform(140, 260) * np.array([math.cos(heading), math.sin(heading)])
            if np.all(np.abs(step) < reach_m):
                length_m += float(np.linalg.norm(step - points[-1]))
                points.append(step)
            else:
                heading += rng.uniform(0.6, 1.6)
        heights = rng.uniform(84, 145, len(points))
        return cls(
            waypoints_m=tuple((float(n), float(e)) for n, e in points),
            heights_m=tuple(float(h) for h in heights),
            duration_s=duration_s,
            wind_m_s=rng.uniform(1, 7),
            wind_from_rad=rng.uniform(0, 2 * math.pi),
        )


@dataclass(frozen=True, slots=True)
class _Path:
    """The true motion, sampled at every exposure."""

    time_s: NDArray[np.float64]
    north_m: NDArray[np.float64]
    east_m: NDArray[np.float64]
    height_m: NDArray[np.float64]
    roll_rad: NDArray[np.float64]
    pitch_rad: NDArray[np.float64]
    yaw_rad: NDArray[np.float64]


def simulate(
    world: World, plan: FlightPlan, camera: Camera, *, seed: int, look: Look | None = None
) -> Iterator[tuple[Frame, Truth]]:
    """Fly the plan over today's ground and yield every exposure with what the sensors said and where it was.

    Frames are rendered one at a time. To fly outside a region, fly over another world: the ground is real, only not
    the region's.
    """
    rng = np.random.default_rng([seed, 0x5E4])
    path = _fly(plan, rng)
    count = len(path.time_s)
    noise = plan.noise
    roll_error = _error(rng, path.time_s, noise.tilt_slow_deg, noise.tilt_fast_deg)
    pitch_error = _error(rng, path.time_s, noise.tilt_slow_deg, noise.tilt_fast_deg)
    yaw_error = _error(rng, path.time_s, noise.yaw_slow_deg, noise.yaw_fast_deg)
    height_share = np.radians(1) ** -1 * _error(rng, path.time_s, noise.height_slow, 0.0)
    look = Look(noise=2.5, defocus_px=0.5) if look is None else look
    for i in range(count):
        ground_m = ground_height_m(world, path.north_m[i], path.east_m[i])
        alt_m = ground_m + path.height_m[i]
        pose = Pose(
            path.north_m[i], path.east_m[i], alt_m, path.roll_rad[i], path.pitch_rad[i], path.yaw_rad[i]
        )
        exposure = 1 + 0.06 * math.sin(path.time_s[i] * 0.4)
        image = render_nadir(world, camera, pose, look=replace(look, gain=(exposure,) * 3), rng=rng)
        stamp_ns = round(path.time_s[i] * 1e9)
        lat_deg, lon_deg = world.frame.to_wgs84(path.north_m[i], path.east_m[i])
        yield (
            Frame(
                image=image,
                stamp_ns=stamp_ns,
                roll_rad=path.roll_rad[i] + roll_error[i],
                pitch_rad=path.pitch_rad[i] + pitch_error[i],
                yaw_rad=path.yaw_rad[i] + yaw_error[i],
                height_m=path.height_m[i] * (1 + height_share[i]) + rng.normal(0, noise.height_fast_m),
                camera=camera,
            ),
            Truth(stamp_ns, lat_deg, lon_deg, alt_m),
        )


def exposures(plan: FlightPlan) -> int:
    """Return how many frames the plan gives."""
    return int(plan.duration_s * plan.rate_hz)


def _fly(plan: FlightPlan, rng: np.random.Generator) -> _Path:
    """Follow a smooth curve through the waypoints; bank into its turns, lean into the wind, wobble in the gusts."""
    time_s = 1.0 + np.arange(exposures(plan)) / plan.rate_hz
    curve, heights = _curve(np.array(plan.waypoints_m), np.array(plan.heights_m))
    steps = np.hypot(*np.diff(curve, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)])
    at = (time_s - time_s[0]) * plan.speed_m_s
    if at[-1] > along[-1]:
        raise ValueError(f"the path is {along[-1]:.0f} m, {at[-1]:.0f} m are flown in {plan.duration_s} s: add waypoints")
    north, east = (np.interp(at, along, curve[:, k]) for k in (0, 1))
    height = np.interp(at, along, heights)
    dt = 1 / plan.rate_hz
    course = np.unwrap(np.arctan2(np.gradient(east, dt), np.gradient(north, dt)))
    rate = np.convolve(np.pad(np.gradient(course, dt), 4, mode="edge"), np.ones(9) / 9, mode="valid")
    gust = [_error(rng, time_s, 1.2, 0.5, slow_s=1.5) for _ in range(2)]
    limit = math.radians(plan.max_tilt_deg) * 0.72  # per axis, so that both together stay under it
    bank = np.arctan(plan.speed_m_s * rate / _GRAVITY_M_S2)
    crab = plan.wind_m_s / plan.speed_m_s * np.sin(plan.wind_from_rad - course)
    roll = np.clip(bank + gust[0], -limit, limit)
    pitch = np.clip(np.radians(-2.0) - 0.012 * plan.wind_m_s * np.cos(plan.wind_from_rad - course) + gust[1], -limit, limit)
    return _Path(time_s, north, east, height, roll, pitch, course + np.arcsin(np.clip(crab, -0.5, 0.5)))


def _curve(
    points: NDArray[np.float64], heights: NDArray[np.float64], samples: int = 60
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a Catmull-Rom curve through the waypoints and smooth heights along it."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, samples, endpoint=False)[:, None]
    pieces, levels = [], []
    for i in range(len(points) - 1):
        a, b, c, d = padded[i : i + 4]
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
        ease = (1 - np.cos(np.pi * t[:, 0])) / 2
        levels.append(heights[i] + ease * (heights[i + 1] - heights[i]))
    return np.vstack([*pieces, points[-1:]]), np.concatenate([*levels, heights[-1:]])


def _error(
    rng: np.random.Generator, time_s: NDArray[np.float64], slow_deg: float, fast_deg: float, *, slow_s: float = 20.0
) -> NDArray[np.float64]:
    """Return radians: a first-order wander of `slow_deg` plus white noise of `fast_deg`."""
    keep = math.exp(-(time_s[1] - time_s[0]) / slow_s) if len(time_s) > 1 else 0.0
    wander = np.empty(len(time_s))
    value = rng.normal(0, slow_deg)
    for i in range(len(time_s)):
        wander[i] = value
        value = keep * value + math.sqrt(1 - keep * keep) * rng.normal(0, slow_deg)
    return np.asarray(np.radians(wander + rng.normal(0, fast_deg, len(time_s))))
