import dataclasses
import itertools
import math

import numpy as np
import pytest

from pilotage.camera import Camera
from pilotage.engine import open_engine
from pilotage.errors import PackError
from pilotage.localise import Localiser
from pilotage.pack import RegionPack
from pilotage.replay import localiser
from pilotage.score import score
from pilotage.testing import FakeEngine
from pilotage.values import Frame, TrackState, Verdict
from pilotage.world import FlightPlan, WorldConfig, make_world, simulate

CAMERA = Camera.from_hfov(320, 240, hfov_deg=84)


def plan_over(world, *, seconds=8.0, seed=1):
    return dataclasses.replace(FlightPlan.draw(world, seed, duration_s=seconds), rate_hz=5.0)


@pytest.fixture(scope="module")
def flight(region):
    return list(simulate(region.world, plan_over(region.world), CAMERA, seed=1))


@pytest.fixture
def onboard(region):
    with localiser(region.pack_file) as ready:
        yield ready


def test_localiser_follows_a_flight_to_within_metres(onboard, flight):
    fixes = [onboard.update(frame) for frame, _ in flight]
    result = score(fixes, [truth for _, truth in flight])
    assert result.availability >= 0.85  # the first three frames of forty only ask for agreement
    assert result.first_fix_s <= 3
    assert result.median_error_m <= 4
    assert result.max_error_m <= 12
    assert fixes[-1].state is TrackState.TRACKING
    assert all(math.isfinite(fix.heading_rad) for fix in fixes if fix.verdict is Verdict.MATCHED)


def test_localiser_repeats_itself_bit_for_bit(region, flight):
    runs = []
    for _ in range(2):
        with localiser(region.pack_file) as ready:
            runs.append([ready.update(frame).to_dict() for frame, _ in flight[:15]])
    assert runs[0] == runs[1]


def test_localiser_gives_no_fix_over_other_ground(onboard):
    elsewhere = make_world(977, WorldConfig(size_m=700))
    frames = simulate(elsewhere, plan_over(elsewhere), CAMERA, seed=2)
    assert not any(onboard.update(frame).has_position for frame, _ in frames)


def test_localiser_corrects_a_compass_that_is_off(onboard, flight):
    off = math.radians(4.0)
    fixes = [onboard.update(dataclasses.replace(frame, yaw_rad=frame.yaw_rad + off)) for frame, _ in flight]
    wrong = [
        (fix.heading_rad - frame.yaw_rad + math.pi) % (2 * math.pi) - math.pi
        for fix, (frame, _) in zip(fixes, flight, strict=True)
        if fix.verdict is Verdict.MATCHED
    ]
    assert abs(math.degrees(np.median(wrong[-10:]))) < 3.5  # of it, the simulated compass's own 2 degrees remain


def test_localiser_reads_the_velocity_from_the_map(onboard, flight, region):
    last = None
    for frame, _ in flight:
        last = onboard.update(frame)
    flown_m_s = plan_over(region.world).speed_m_s
    assert math.hypot(last.velocity_north_m_s, last.velocity_east_m_s) == pytest.approx(flown_m_s, abs=3)


def broken(frame, **change):
    return dataclasses.replace(frame, **change)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"roll_rad": math.nan}, Verdict.BAD_ATTITUDE),
        ({"height_m": math.inf}, Verdict.BAD_HEIGHT),
        ({"pitch_rad": 1.0}, Verdict.TILT_OUT_OF_RANGE),
        ({"image": np.zeros((240, 320, 3), np.uint8)}, Verdict.BAD_IMAGE),
        ({"image": np.zeros((10, 10, 3), np.uint8)}, Verdict.BAD_IMAGE),
        ({"height_m": 5.0}, Verdict.TOO_LOW),
        ({"height_m": 5000.0}, Verdict.TOO_HIGH),
    ],
)
def test_localiser_gives_a_verdict_and_goes_on(onboard, flight, change, verdict):
    frames = [frame for frame, _ in flight]
    for frame in frames[:10]:
        onboard.update(frame)
    fix = onboard.update(broken(frames[10], **change))
    assert fix.verdict is verdict
    assert fix.has_position  # carried by prediction
    assert onboard.update(frames[11]).verdict is Verdict.MATCHED


def test_localiser_refuses_time_that_does_not_move_on(onboard, flight):
    frames = [frame for frame, _ in flight]
    for frame in frames[:6]:
        onboard.update(frame)
    for stamp_ns in (frames[5].stamp_ns, frames[2].stamp_ns, -1):
        assert onboard.update(broken(frames[6], stamp_ns=stamp_ns)).verdict is Verdict.BAD_TIME
    assert onboard.update(frames[6]).verdict is Verdict.MATCHED


def test_localiser_goes_quiet_in_the_dark_and_comes_back(onboard, flight):
    """Black frames: the covariance grows, then LOST and no position; light again: a fix again."""
    frames = [frame for frame, _ in flight]
    for frame in frames[:10]:
        onboard.update(frame)
    dark = np.zeros((240, 320, 3), np.uint8)
    step_ns = frames[1].stamp_ns - frames[0].stamp_ns
    fixes = [
        onboard.update(broken(frames[10], image=dark, stamp_ns=frames[9].stamp_ns + i * step_ns)) for i in range(1, 60)
    ]
    sigmas = [fix.std_horizontal_m for fix in fixes if fix.has_position]
    assert np.all(np.diff(sigmas) > 0)
    assert fixes[-1].state is TrackState.LOST
    assert not fixes[-1].has_position
    assert math.isnan(fixes[-1].lat_deg)
    back = [onboard.update(broken(frame, stamp_ns=frame.stamp_ns + 100_000_000_000)) for frame in frames[10:20]]
    assert back[-1].state is TrackState.TRACKING


def test_localiser_says_lost_when_kidnapped_and_finds_itself_again(region, onboard, flight):
    frames = [frame for frame, _ in flight]
    for frame in frames[:12]:
        onboard.update(frame)
    other = list(simulate(region.world, plan_over(region.world, seconds=12.0, seed=6), CAMERA, seed=6))
    shift_ns = frames[11].stamp_ns - other[0][0].stamp_ns + 200_000_000
    steps = [(onboard.update(broken(frame, stamp_ns=frame.stamp_ns + shift_ns)), truth) for frame, truth in other]
    result = score([fix for fix, _ in steps[-10:]], [truth for _, truth in steps[-10:]])
    assert result.availability == 1.0
    assert result.max_error_m < 12


def test_locate_answers_for_one_frame(onboard, flight):
    errors = []
    for frame, truth in itertools.islice(flight, 0, None, 5):
        fix = onboard.locate(frame)
        if fix.has_position:
            errors.append(score([fix], [truth]).median_error_m)
    assert len(errors) >= 4
    assert max(errors) < 12


def test_matches_rank_the_right_tile_high(onboard, flight):
    frame, truth = flight[10]
    best = onboard.matches(frame, k=5)
    assert len(best) == 5
    assert [m.score for m in best] == sorted((m.score for m in best), reverse=True)
    assert min(score_distance(m.tile, truth) for m in best) < 60


def score_distance(tile, truth):
    return 111_320 * math.hypot(
        tile.lat_deg - truth.lat_deg, (tile.lon_deg - truth.lon_deg) * math.cos(math.radians(tile.lat_deg))
    )


def test_localiser_refuses_an_encoder_of_another_model(region):
    with RegionPack.open(region.pack_file) as pack, pytest.raises(PackError, match="use the encoder inside the pack"):
        Localiser(pack, FakeEngine())


class NanEngine(FakeEngine):
    def run(self, images):
        return np.full((len(images), 512), np.nan, np.float32)


def test_localiser_survives_an_engine_that_gives_nan(region, flight):
    with RegionPack.open(region.pack_file) as pack, open_engine(pack.query_model()) as real:
        onboard = Localiser(pack, NanEngine(real.contract))
        for frame, _ in flight[:3]:
            fix = onboard.update(frame)
            assert fix.verdict is Verdict.BAD_IMAGE
            assert not fix.has_position


def test_localiser_never_raises_on_noise(onboard):
    rng = np.random.default_rng(1)
    for i in range(12):
        image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        angles = rng.normal(0, 0.3, 3)
        fix = onboard.update(Frame(image, 1 + i * 10**8, *angles, float(rng.uniform(-10, 300)), CAMERA))
        assert not fix.has_position
