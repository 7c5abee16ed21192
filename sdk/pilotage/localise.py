"""The localiser: frame in, fix out. Pure but for the engine and the pack it was given; no clock, no thread, no socket.

    rectify -> encode -> search -> refine -> track, with the ground's own motion beside it

Read `Localiser.update` first; the rest are its steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pilotage.engine import Engine
from pilotage.errors import PackError
from pilotage.motion import GroundMotion, MotionConfig
from pilotage.pack import RegionPack
from pilotage.rectify import Patch, RectifyConfig, rectify
from pilotage.refine import Alignment, Field, RefineConfig, align, edge_field
from pilotage.search import Searcher
from pilotage.track import Measurement, Track, TrackConfig
from pilotage.values import Fix, Frame, Match, TrackState, Verdict

_TIGHT_GATE_M = 8.0


@dataclass(frozen=True, slots=True)
class LocaliserConfig:
    """One configuration for each stage, and what joins them."""

    rectify: RectifyConfig = field(default_factory=RectifyConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    candidates: int = 10  # tiles refined when there is no prior ...
    candidates_kept: int = 4  # ... of which the strongest are remembered
    reach: float = 0.9  # of the stride: how far from a tile's centre the frame may lie
    tilt_std_deg: float = 0.6  # of the attitude the vehicle gives; moves the position by height * tan
    map_std_m: float = 1.0  # of the map's own registration, and of roofs and trees that lean
    turns_deg: tuple[float, float, float] = (-3.5, 0.0, 3.5)  # heading errors tried, about the last one found
    turn_follow: float = 0.15  # how fast that follows what a frame says


@dataclass(frozen=True, slots=True)
class Found:
    """A place for one frame: where the camera is, and what spoke for it."""

    measurement: Measurement
    match: Match
    alignment: Alignment
    turn_rad: float


@dataclass(frozen=True, slots=True)
class _View:
    """A frame under one heading hypothesis, ready to be aligned."""

    frame: Frame
    patch: Patch
    edges: Field
    turn_rad: float


class Localiser:
    """Matches frames against one pack. Not thread-safe."""

    def __init__(self, pack: RegionPack, engine: Engine, config: LocaliserConfig | None = None) -> None:
        if engine.contract.model_id != pack.manifest.contract.model_id:
            raise PackError(
                f"the pack was built with {pack.manifest.contract.model_id}, the engine is {engine.contract.model_id}: "
                "use the encoder inside the pack"
            )
        self._pack, self._engine = pack, engine
        self._config = LocaliserConfig() if config is None else config
        self._searcher = Searcher(pack)
        self._motion = GroundMotion(self._config.motion, self._config.refine)
        self._track = Track(self._config.track)
        self._stamp_ns: int | None = None
        self._turn_rad = 0.0  # what the compass is off by, as the map says

    @property
    def state(self) -> TrackState:
        """What the track says of itself."""
        return self._track.state

    def update(self, frame: Frame) -> Fix:
        """Use one frame; return where the vehicle is, or why that is not known."""
        if self._stamp_ns is not None and frame.stamp_ns <= self._stamp_ns:
            return self._fix(self._stamp_ns, Verdict.BAD_TIME)
        self._stamp_ns = frame.stamp_ns
        self._track.predict(frame.stamp_ns / 1e9)
        patch = self._rectify(frame)
        if isinstance(patch, Verdict):
            self._track.miss()
            return self._fix(frame.stamp_ns, patch)
        descriptor = self._engine.run(patch.image[None])[0]
        if not np.all(np.isfinite(descriptor)):
            self._track.miss()
            return self._fix(frame.stamp_ns, Verdict.BAD_IMAGE)
        if self._track.state is TrackState.LOST:
            self._turn_rad = 0.0  # what misled the track may have misled this too
        views = self._views(frame, patch)
        self._move(frame, views)
        if self._track.active:
            return self._follow(frame, views, patch, descriptor)
        return self._acquire(frame, views, descriptor)

    def locate(self, frame: Frame) -> Fix:
        """Answer for one frame alone, with no track: the best place that passes, or a verdict."""
        patch = self._rectify(frame)
        if isinstance(patch, Verdict):
            return Fix(frame.stamp_ns, TrackState.SEARCHING, patch)
        found = self._candidates(self._views(frame, patch), self._engine.run(patch.image[None])[0])
        if not found:
            return Fix(frame.stamp_ns, TrackState.SEARCHING, Verdict.NO_MATCH)
        best = max(found, key=lambda f: f.alignment.strength)
        here = best.measurement
        rivals = [
            f.alignment.strength
            for f in found
            if math.hypot(f.measurement.north_m - here.north_m, f.measurement.east_m - here.east_m) > 15
        ]
        if rivals and max(rivals) > 0.8 * best.alignment.strength:
            return Fix(frame.stamp_ns, TrackState.SEARCHING, Verdict.AMBIGUOUS, score=best.alignment.score)
        lat_deg, lon_deg = self._pack.frame.to_wgs84(here.north_m, here.east_m)
        std_m = math.hypot(here.std_m, here.common_std_m)
        return Fix(
            stamp_ns=frame.stamp_ns,
            state=TrackState.TRACKING,
            verdict=Verdict.MATCHED,
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            std_north_m=std_m,
            std_east_m=std_m,
            heading_rad=(frame.yaw_rad + best.turn_rad) % (2 * math.pi),
            std_heading_rad=math.radians(2.0),
            age_s=0.0,
            score=best.alignment.score,
        )

    def matches(self, frame: Frame, *, k: int = 10) -> list[Match]:
        """Return the k tiles of the whole region that look most like this frame; empty when it cannot be used."""
        patch = self._rectify(frame)
        if isinstance(patch, Verdict):
            return []
        return self._searcher.all(self._engine.run(patch.image[None])[0], k=k)

    def _rectify(self, frame: Frame, turn_rad: float = 0.0) -> Patch | Verdict:
        manifest = self._pack.manifest
        return rectify(
            frame,
            ground_size_m=manifest.tile_m,
            side_px=manifest.contract.width,
            turn_rad=turn_rad,
            config=self._config.rectify,
        )

    def _move(self, frame: Frame, views: list[_View]) -> None:
        """Let the ground itself say how fast the vehicle goes."""
        if not views:
            return
        level = views[len(views) // 2]
        speed = self._motion.update(level.patch, level.edges, time_s=frame.stamp_ns / 1e9, height_m=frame.height_m)
        if speed is not None and self._track.active:
            self._track.offer_velocity(speed.north_m_s, speed.east_m_s, std_m_s=speed.std_m_s)

    def _follow(self, frame: Frame, views: list[_View], patch: Patch, descriptor: NDArray[np.float32]) -> Fix:
        """Look only where the track says the vehicle can be."""
        north_m, east_m = self._track.position_m
        centre = (north_m + patch.offset_north_m, east_m + patch.offset_east_m)
        found = self._near(views, descriptor, centre=centre)
        accepted = self._track.offer(found.measurement if found is not None else None)
        if not accepted and self._track.state is not TrackState.TRACKING:
            # Carried for a while: perhaps it is elsewhere. Let the whole region speak; only agreement is believed.
            fix = self._acquire(frame, views, descriptor)
            if fix.verdict is Verdict.MATCHED:
                return fix
        if found is None:
            return self._fix(frame.stamp_ns, Verdict.NO_MATCH)
        if not accepted:
            return self._fix(frame.stamp_ns, Verdict.AMBIGUOUS, found)
        self._turn_rad += self._config.turn_follow * (found.turn_rad - self._turn_rad)
        return self._fix(frame.stamp_ns, Verdict.MATCHED, found, heading_rad=frame.yaw_rad + self._turn_rad)

    def _acquire(self, frame: Frame, views: list[_View], descriptor: NDArray[np.float32]) -> Fix:
        """Look everywhere; believe a place only when several frames agree on it."""
        found = self._candidates(views, descriptor)
        if self._track.acquire([f.measurement for f in found]):
            best = max(found, key=lambda f: f.alignment.strength)
            self._turn_rad = best.turn_rad
            return self._fix(frame.stamp_ns, Verdict.MATCHED, best, heading_rad=frame.yaw_rad + best.turn_rad)
        return self._fix(frame.stamp_ns, Verdict.AMBIGUOUS if found else Verdict.NO_MATCH)

    def _near(
        self, views: list[_View], descriptor: NDArray[np.float32], *, centre: tuple[float, float]
    ) -> Found | None:
        """Search the gate about a predicted patch centre, exactly."""
        stride_m = self._pack.manifest.stride_m
        gate_m = self._track.gate_radius_m()
        matches = self._searcher.near(
            descriptor, north_m=centre[0], east_m=centre[1], radius_m=gate_m + stride_m, k=self._config.candidates_kept
        )
        if not matches:
            return None  # out of the map
        needed = self._needed_strength(gate_m)
        if gate_m > 2 * stride_m:  # too wide to slide over: the descriptors say where in it
            found = self._refine_all(views, matches, min_strength=needed)
            return max(found, key=lambda f: f.alignment.strength, default=None)
        # never so small a window that any peak in it would do: a peak must stand out among others
        reach_px = math.ceil(max(gate_m, stride_m) / self._pack.manifest.map_gsd_m)
        return self._refine(views, matches[0], centre, reach_px=reach_px, min_strength=needed)

    def _candidates(self, views: list[_View], descriptor: NDArray[np.float32]) -> list[Found]:
        """Retrieve from the whole region and keep the strongest of the tiles whose pixels agree."""
        matches = self._searcher.all(descriptor, k=self._config.candidates)
        found = self._refine_all(views, matches, min_strength=self._config.refine.min_strength)
        return sorted(found, key=lambda f: -f.alignment.strength)[: self._config.candidates_kept]

    def _refine_all(self, views: list[_View], matches: list[Match], *, min_strength: float) -> list[Found]:
        """Refine about the centre of every tile."""
        manifest = self._pack.manifest
        reach_px = math.ceil(self._config.reach * manifest.stride_m / manifest.map_gsd_m)
        found: list[Found] = []
        for match in matches:
            north_m, east_m = self._pack.tile_centres_m[match.tile.index]
            centre = (float(north_m), float(east_m))
            here = self._refine(views, match, centre, reach_px=reach_px, min_strength=min_strength)
            if here is not None:
                found.append(here)
        return found

    def _views(self, frame: Frame, patch: Patch) -> list[_View]:
        """Return the frame under every heading hypothesis, ready to be aligned."""
        views = []
        for turn_deg in self._config.turns_deg:
            turn_rad = self._turn_rad + math.radians(turn_deg)
            turned = self._rectify(frame, turn_rad) if turn_rad else patch
            if isinstance(turned, Patch):
                edges = edge_field(turned.image, turned.covered, self._config.refine)
                views.append(_View(frame, turned, edges, turn_rad))
        return views

    def _needed_strength(self, gate_m: float) -> float:
        """The wider the gate, the likelier a chance peak falls inside it: ask for more, up to what acquiring takes."""
        tight, wide = self._config.refine.min_strength_prior, self._config.track.acquire_strength
        share = (gate_m - _TIGHT_GATE_M) / max(self._pack.manifest.stride_m - _TIGHT_GATE_M, 1.0)
        return tight + (wide - tight) * min(max(share, 0.0), 1.0)

    def _refine(
        self, views: list[_View], match: Match, centre: tuple[float, float], *, reach_px: int, min_strength: float
    ) -> Found | None:
        """Align the views with the map about where the level patch's centre should lie; the strongest view wins."""
        side = self._pack.manifest.contract.width
        row, column = self._pack.pixel_of(*centre)
        top, left = round(row - side / 2 + 0.5) - reach_px, round(column - side / 2 + 0.5) - reach_px
        span = side + 2 * reach_px
        window, valid = self._pack.map_window(top, left, span, span)
        field = edge_field(window, valid, self._config.refine)
        best: tuple[_View, Alignment] | None = None
        scores: dict[float, float] = {}
        for view in views:
            alignment = align(view.edges, view.patch.covered, field, self._config.refine)
            if alignment is not None:
                scores[view.turn_rad] = alignment.score
                if best is None or alignment.score > best[1].score:
                    best = view, alignment
        if best is None or best[1].strength < min_strength:
            return None
        middle = (span - 1) / 2
        place = self._pack.place_of(top + middle + best[1].shift_down_px, left + middle + best[1].shift_right_px)
        return self._found(best[0], match, best[1], place=place, turn_rad=_best_turn(scores))

    def _found(
        self, view: _View, match: Match, alignment: Alignment, *, place: tuple[float, float], turn_rad: float
    ) -> Found:
        """Go from where the patch's centre lies to where the camera is, and say how well."""
        gsd_m = self._pack.manifest.map_gsd_m
        north_m, east_m = place
        frame, patch = view.frame, view.patch
        tilt_m = frame.height_m * math.tan(math.radians(self._config.tilt_std_deg))
        measurement = Measurement(
            north_m=north_m - patch.offset_north_m,
            east_m=east_m - patch.offset_east_m,
            std_m=math.hypot(alignment.std_px * gsd_m, 0.6 * tilt_m),
            common_std_m=math.hypot(tilt_m, self._config.map_std_m),
            score=alignment.score,
            strength=alignment.strength,
        )
        return Found(measurement, match, alignment, turn_rad)

    def _fix(
        self, stamp_ns: int, verdict: Verdict, found: Found | None = None, *, heading_rad: float = math.nan
    ) -> Fix:
        """Say what the track knows now."""
        track = self._track
        if not track.active:
            return Fix(stamp_ns, track.state, verdict)
        north_m, east_m = track.position_m
        lat_deg, lon_deg = self._pack.frame.to_wgs84(north_m, east_m)
        covariance = track.covariance_m2()
        return Fix(
            stamp_ns=stamp_ns,
            state=track.state,
            verdict=verdict,
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            std_north_m=math.sqrt(covariance[0, 0]),
            std_east_m=math.sqrt(covariance[1, 1]),
            cov_north_east_m2=float(covariance[0, 1]),
            velocity_north_m_s=track.velocity_m_s[0],
            velocity_east_m_s=track.velocity_m_s[1],
            std_velocity_m_s=track.velocity_std_m_s,
            heading_rad=heading_rad % (2 * math.pi) if math.isfinite(heading_rad) else math.nan,
            std_heading_rad=math.radians(2.0) if math.isfinite(heading_rad) else math.nan,
            age_s=track.age_s(stamp_ns / 1e9),
            score=found.alignment.score if found is not None else math.nan,
        )


def _best_turn(scores: dict[float, float]) -> float:
    """Return the turn at the top of a parabola through three scores, or the best of those there are."""
    turns = sorted(scores)
    best = max(turns, key=lambda turn: scores[turn])
    if len(turns) != 3 or best != turns[1]:
        return best
    before, here, after = (scores[turn] for turn in turns)
    bend = 2 * here - before - after
    return best + 0.5 * (turns[2] - turns[1]) * (after - before) / bend if bend > 1e-6 else best
