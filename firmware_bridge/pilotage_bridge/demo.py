"""The demo: a synthetic region from its map to MAVLink, through the code that flies, held against its bars.

Read `run` first: it is the whole product in the order a user meets it.
"""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pilotage import models
from pilotage.camera import Camera
from pilotage.cli.world import write_map
from pilotage.engine import open_engine
from pilotage.errors import LinkError, PilotageError
from pilotage.localise import Localiser
from pilotage.maps import open_map
from pilotage.pack import RegionPack, build_pack
from pilotage.pack.build import Imagery
from pilotage.progress import Progress
from pilotage.score import score
from pilotage.store import Store
from pilotage.values import Fix, Frame, Truth
from pilotage.world import FlightPlan, World, WorldConfig, make_world, simulate
from pilotage.world.flight import exposures
from pilotage_bridge.gps_input import GpsInputConfig
from pilotage_bridge.link import MavlinkOut
from pilotage_bridge.publisher import Publisher

CAMERA = Camera.from_hfov(640, 480, hfov_deg=84)
_BARO_BIAS_M = 1.5  # what the simulated barometer is off by; ArduPilot is given its altitude, not the truth's


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What is flown."""

    out: Path
    seed: int = 7
    seconds: float = 75.0
    outside_seconds: float = 15.0
    size_m: float = 2000.0
    model: str = "nadir-512"


@dataclass(frozen=True, slots=True)
class Flown:
    """One frame of a flight, as it is remembered."""

    frame: Frame
    truth: Truth
    fix: Fix
    latency_s: float  # exposure in memory -> MAVLink bytes written


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise and what came of it."""

    name: str
    value: float | None
    limit: float
    at_least: bool = False

    @property
    def held(self) -> bool:
        """Whether it was kept."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {
            "name": self.name,
            "value": self.value,
            "limit": self.limit,
            "rule": ">=" if self.at_least else "<=",
            "held": self.held,
        }


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Everything the summary, the picture and the report are made of."""

    world: World
    pack: Path
    flight: list[Flown]
    outside: list[Flown]
    summary: dict[str, Any]
    bars: list[Bar]


def run(config: DemoConfig) -> DemoResult:
    """Map -> pack -> store -> flight -> MAVLink -> score."""
    cv2.setNumThreads(1)  # the bars are for one core
    models.find(config.model)  # refuse now what would be refused after a minute
    started = time.monotonic()
    config.out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}

    with _timed("make the region", seconds):
        world = make_world(config.seed, WorldConfig(size_m=config.size_m))
        picture = write_map(world, config.out / "region")
    with _timed("build the pack", seconds):
        pack_file = _build(picture, config)
    with _timed("flash it", seconds):
        store = Store(config.out / "store")
        store.install(pack_file)
    current = store.current()
    assert current is not None
    with _timed("make other ground", seconds):
        elsewhere = make_world(config.seed + 1_000_000, WorldConfig(size_m=0.6 * config.size_m))

    heard_file = config.out / "heard.json"
    with RegionPack.open(current) as pack, open_engine(pack.query_model(), threads=1) as engine:
        pack.self_test(engine)
        with _listener(heard_file) as port, MavlinkOut(f"udpout:127.0.0.1:{port}") as link:
            with _timed("fly", seconds):
                plan = FlightPlan.draw(world, config.seed, duration_s=config.seconds)
                flight = list(
                    _fly(Localiser(pack, engine), link, world, plan, seed=config.seed, label="fly the region")
                )
            sent_inside = link.counts.messages
            with _timed("fly outside", seconds):
                plan = FlightPlan.draw(elsewhere, config.seed, duration_s=config.outside_seconds)
                outside = list(
                    _fly(Localiser(pack, engine), link, elsewhere, plan, seed=config.seed, label="fly outside")
                )
            sent = link.counts.messages
    heard = json.loads(heard_file.read_text(encoding="utf-8"))

    mavlink = _mavlink(heard, sent=sent, sent_inside=sent_inside, flight=flight)
    result = score([f.fix for f in flight], [f.truth for f in flight])
    latency_ms = np.array([f.latency_s for f in flight]) * 1e3
    summary: dict[str, Any] = {
        "seed": config.seed,
        **result.to_dict(),
        "latency_p50_ms": float(np.quantile(latency_ms, 0.5)),
        "latency_p95_ms": float(np.quantile(latency_ms, 0.95)),
        "latency_p99_ms": float(np.quantile(latency_ms, 0.99)),
        "outside_frames": len(outside),
        "outside_fixes": sum(f.fix.has_position for f in outside),
        "mavlink": mavlink,
        "pack": {
            "file": str(pack_file),
            "size_mb": pack_file.stat().st_size / 1e6,
            "pack_id": pack.pack_id,
            "model_id": pack.manifest.contract.model_id,
        },
        "flight": {"seconds": config.seconds, "rate_hz": plan.rate_hz, "height_m": _height_range(flight)},
        "seconds": {**seconds, "total": time.monotonic() - started},
        "machine": machine(),
    }
    bars = _bars(summary)
    summary["bars"] = [bar.to_dict() for bar in bars]
    summary["verdict"] = "pass" if all(bar.held for bar in bars) else "fail"
    return DemoResult(world, pack_file, flight, outside, summary, bars)


def _build(picture: Path, config: DemoConfig) -> Path:
    output = config.out / "demo.region"
    model = models.find(config.model)
    with open_engine(model, threads=2) as engine:
        build_pack(
            open_map(picture),
            output,
            engine=engine,
            model=model.read_bytes(),
            name=f"synthetic-{config.seed}",
            imagery=Imagery("pilotage.world, synthetic", "an older day", "CC0-1.0"),
        )
    return output


def _fly(
    onboard: Localiser, link: MavlinkOut, world: World, plan: FlightPlan, *, seed: int, label: str
) -> Iterator[Flown]:
    """Fly in simulated time, as fast as this machine can."""
    publisher = Publisher(link)
    utc_s = time.time()
    with Progress(label, exposures(plan), unit="frame") as bar:
        for frame, truth in simulate(world, plan, CAMERA, seed=seed):
            exposed_s = frame.stamp_ns / 1e9
            start = time.perf_counter()
            fix = onboard.update(frame)
            now_s = exposed_s + time.perf_counter() - start
            publisher.publish(fix, truth.alt_m + _BARO_BIAS_M, now_utc_s=utc_s + now_s, now_mono_s=now_s)
            latency_s = time.perf_counter() - start
            bar.add()
            yield Flown(frame, truth, fix, latency_s)


@contextmanager
def _listener(report: Path) -> Iterator[int]:
    """Start `pilotage listen` as a process of its own and yield its port; it writes its report at the end."""
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pilotage_bridge.listen_cli", "--port", "0", "--json", str(report)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise LinkError(f"the listener did not start, it said {line!r}: run `pilotage listen --port 0` to see why")
        yield int(line.rsplit(":", 1)[1])
        time.sleep(0.3)  # what is on the loopback reaches the socket
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        if process.returncode != 0 or not report.is_file():
            raise LinkError(
                f"the listener ended with {process.returncode} and no report: run `pilotage listen` to see why"
            )
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _mavlink(heard: dict[str, Any], *, sent: int, sent_inside: int, flight: list[Flown]) -> dict[str, Any]:
    """Hold what the listener decoded against what was sent."""
    positions = [row for row in heard["gps_input"] if row["fix_type"] >= 3]
    max_eph_m = GpsInputConfig().max_eph_m  # above it the bridge says NO_FIX, by design
    given = [f.fix for f in flight if f.fix.has_position and f.fix.std_horizontal_m <= max_eph_m]
    worst_deg = max(
        (
            max(abs(row["lat"] - fix.lat_deg), abs(row["lon"] - fix.lon_deg))
            for row, fix in zip(positions, given, strict=False)
        ),
        default=math.nan,
    )
    return {
        "sent": sent,
        "sent_in_region": sent_inside,
        "decoded": heard["decoded"],
        "lost_or_bad": sent - heard["decoded"] + heard["bad_packets"],
        "messages": heard["messages"],
        "positions": len(positions),
        "positions_expected": len(given),
        "worst_difference_deg": worst_deg if math.isfinite(worst_deg) else None,
        "sequence_gaps": heard["sequence_gaps"],
    }


def _height_range(flight: list[Flown]) -> list[float]:
    heights = [f.frame.height_m for f in flight]
    return [round(min(heights), 1), round(max(heights), 1)]


def _bars(summary: dict[str, Any]) -> list[Bar]:
    """The promises of the spine."""
    mavlink = summary["mavlink"]
    worst_deg = mavlink["worst_difference_deg"]
    return [
        Bar("first fix, s", summary["first_fix_s"], 3.0),
        Bar("availability", summary["availability"], 0.95, at_least=True),
        Bar("median error, m", summary["median_error_m"], 5.0),
        Bar("95th percentile error, m", summary["p95_error_m"], 15.0),
        Bar("largest error published, m", summary["max_error_m"], 50.0),
        Bar("latency p95, ms on one core", summary["latency_p95_ms"], 150.0),
        Bar("MAVLink messages lost or bad", float(mavlink["lost_or_bad"]), 0.0),
        Bar("positions not heard", float(abs(mavlink["positions_expected"] - mavlink["positions"])), 0.0),
        Bar("sent and heard differ, 1e-7 deg", None if worst_deg is None else worst_deg * 1e7, 1.0),
        Bar("fixes outside the region", float(summary["outside_fixes"]), 0.0),
    ]


def machine() -> dict[str, Any]:
    """Say what this was measured on."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


@contextmanager
def _timed(label: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.monotonic()
    print(f"{label} ...", file=sys.stderr, flush=True)
    try:
        yield
    except PilotageError:
        print(f"{label} failed", file=sys.stderr, flush=True)
        raise
    seconds[label] = round(time.monotonic() - start, 2)
