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
_LOWEST_M = 84.0
_PACES = ((14.0, 145.0), (12.0, 145.0), (12.0, 120.0), (10.0, 120.0), (10.0, 100.0), (8.0, 100.0), (8.0, 90.0))
_SEEN = 1.6  # of the height: as far as the corner of an 84-degree camera sees, tilted by 10 degrees towards it
_LEAST_REACH_M = 60.0
_DRAWS = 50


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
    """A flight past waypoints (north_m, east_m) at heights above the ground, round and round until its time is up.

    Turns are coordinated and never tighter than the tilt allows, so a waypoint is passed, not hit.
    """

    waypoints_m: tuple[tuple[float, float], ...]
    heights_m: tuple[float, ...]  # one a waypoint
    speed_m_s: float = _SPEED_M_S
    rate_hz: float = 8.0
    duration_s: float = 75.0
    wind_m_s: float = 4.0
    wind_from_rad: float = 0.8
    max_tilt_deg: float = 10.0
    fence_m: float = math.inf  # it turns back in before it would be farther north, south, east or west
    noise: SensorNoise = SensorNoise()

    @property
    def turn_radius_m(self) -> float:
        """The tightest turn that the tilt allows."""
        return self.speed_m_s**2 / (math.tan(0.8 * self._limit_rad) * _GRAVITY_M_S2)

    @property
    def _limit_rad(self) -> float:
        """The tilt about one axis, so that both together stay under the whole."""
        return math.radians(self.max_tilt_deg) * 0.7

    @classmethod
    def draw(cls, world: World, seed: int, *, duration_s: float = 75.0) -> FlightPlan:
        """Draw a winding flight, 80 to 150 m above the ground, whose camera sees nothing but the world.

        It begins where a vehicle can take off: in the most open of a few places, not over closed woods. A small world
        is flown slower and lower: turns and footprint must fit.
        """
        rng = np.random.default_rng([seed, 0xF17])
        for _ in range(_DRAWS):
            plan = cls._drawn(world, rng, duration_s)
            path_m = _steer(plan, exposures(plan))[0]
            if np.max(np.abs(path_m)) <= plan.fence_m:  # steering back in is not enough for every turn
                return plan
        raise ValueError(f"no flight of {duration_s:g} s fits a world of {world.size_m:g} m: give a larger one")

    @classmethod
    def _drawn(cls, world: World, rng: np.random.Generator, duration_s: float) -> FlightPlan:
        speed_m_s, top_m, reach_m = _fitting(world.size_m)
        turn_m = cls((), (), speed_m_s=speed_m_s).turn_radius_m
        starts = rng.uniform(-reach_m, reach_m, (8, 2))
        points = [min(starts, key=lambda start: _overgrown(world, float(start[0]), float(start[1])))]
        heading = rng.uniform(0, 2 * math.pi)
        while len(points) < 4 + int(duration_s * speed_m_s / turn_m):  # real turns, back in from the border
            heading += rng.normal(0, 1.0)
            leg_m = min(rng.uniform(1.2, 2.2) * turn_m, 1.2 * reach_m)
            step = points[-1] + leg_m * np.array([math.cos(heading), math.sin(heading)])
            if np.all(np.abs(step) <= reach_m):
                points.append(step)
        heights = rng.uniform(_LOWEST_M, top_m, len(points))
        return cls(
            waypoints_m=tuple((float(n), float(e)) for n, e in points),
            heights_m=tuple(float(h) for h in heights),
            speed_m_s=speed_m_s,
            duration_s=duration_s,
            fence_m=world.size_m / 2 - _SEEN * top_m,
            wind_m_s=rng.uniform(1, 0.5 * speed_m_s),
            wind_from_rad=rng.uniform(0, 2 * math.pi),
        )


def _fitting(size_m: float) -> tuple[float, float, float]:
    """Return speed, greatest height and how far out waypoints may lie, so that turns and footprints fit the world."""
    for speed_m_s, top_m in _PACES:
        turn_m = FlightPlan((), (), speed_m_s=speed_m_s).turn_radius_m
        reach_m = size_m / 2 - _SEEN * top_m - 1.2 * turn_m - speed_m_s  # a U-turn at the border, begun a second late
        if reach_m >= _LEAST_REACH_M:
            return speed_m_s, top_m, reach_m
    raise ValueError(f"a flight needs a world of 600 m or more to turn in, this one has {size_m:g} m")


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
        pose = Pose(path.north_m[i], path.east_m[i], alt_m, path.roll_rad[i], path.pitch_rad[i], path.yaw_rad[i])
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


def _overgrown(world: World, north_m: float, east_m: float, reach_m: float = 90.0) -> float:
    """Return the share of the ground about a place that stands under trees or roofs."""
    half_m = world.size_m / 2
    top, left = int((half_m - north_m - reach_m) / world.gsd_m), int((east_m + half_m - reach_m) / world.gsd_m)
    span = int(2 * reach_m / world.gsd_m)
    here = (slice(max(top, 0), max(top, 0) + span), slice(max(left, 0), max(left, 0) + span))
    tall = world.surface_m[here] - world.terrain_m[here] > 2
    return abs(float(tall.mean()) - 0.15)  # some houses and trees are what a place is known by


def exposures(plan: FlightPlan) -> int:
    """Return how many frames the plan gives."""
    return int(plan.duration_s * plan.rate_hz)


def _fly(plan: FlightPlan, rng: np.random.Generator) -> _Path:
    """Follow a smooth curve through the waypoints; bank into its turns, lean into the wind, wobble in the gusts."""
    dt = 1 / plan.rate_hz
    time_s = np.asarray(1.0 + np.arange(exposures(plan)) * dt, np.float64)
    limit = plan._limit_rad
    place, height, course, bank = _steer(plan, len(time_s))
    gust = [_error(rng, time_s, 1.2, 0.4, slow_s=1.5) for _ in range(2)]
    crab = plan.wind_m_s / plan.speed_m_s * np.sin(plan.wind_from_rad - course)
    lean = np.radians(-2.0) - 0.012 * plan.wind_m_s * np.cos(plan.wind_from_rad - course)
    return _Path(
        time_s=time_s,
        north_m=place[:, 0],
        east_m=place[:, 1],
        height_m=height,
        roll_rad=np.clip(bank + gust[0], -limit, limit),
        pitch_rad=np.clip(lean + gust[1], -limit, limit),
        yaw_rad=course + np.arcsin(np.clip(crab, -0.5, 0.5)),
    )


def _steer(
    plan: FlightPlan, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return (positions, heights, courses, bank angles) of steering from waypoint to waypoint."""
    substeps, turn_m = 4, plan.turn_radius_m
    dt = 1 / plan.rate_hz / substeps
    points, heights = np.array(plan.waypoints_m), np.array(plan.heights_m)
    place, height, target = points[0].copy(), float(heights[0]), 1
    delta = points[1] - place
    course, rate = math.atan2(delta[1], delta[0]), 0.0
    out = np.empty((count, 5))
    for i in range(count):
        out[i] = (*place, height, course, math.atan(plan.speed_m_s * rate / _GRAVITY_M_S2))
        for _ in range(substeps):
            delta = points[target] - place
            if math.hypot(*delta) < 1.05 * turn_m:  # nearer, a point may lie inside the turn for ever
                target = (target + 1) % len(points)
                delta = points[target] - place
            ahead = place + (turn_m + plan.speed_m_s) * np.array([math.cos(course), math.sin(course)])
            if np.max(np.abs(ahead)) > plan.fence_m:
                delta = -place
            off = (math.atan2(delta[1], delta[0]) - course + math.pi) % (2 * math.pi) - math.pi
            wish = float(np.clip(0.8 * off, -1, 1)) * plan.speed_m_s / turn_m
            rate += (wish - rate) * min(1.0, dt / 0.8)
            course += rate * dt
            place += plan.speed_m_s * dt * np.array([math.cos(course), math.sin(course)])
            height += float(np.clip(0.25 * (heights[target] - height), -2.5, 2.5)) * dt
    return out[:, :2], out[:, 2], out[:, 3], out[:, 4]


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
