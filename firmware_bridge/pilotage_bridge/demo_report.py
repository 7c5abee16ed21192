"""The demo's report.html: one page that needs nothing beside it."""

from __future__ import annotations

import html
from collections.abc import Sequence

import cv2
import numpy as np

from pilotage.charts import Axis, Chart
from pilotage.pack import RegionPack
from pilotage.page import embedded, page
from pilotage.rectify import Patch, RectifyConfig, rectify
from pilotage.score import errors_m
from pilotage.values import Rgb
from pilotage_bridge.demo import Bar, DemoResult, Flown


def report(result: DemoResult) -> str:
    """Return the page."""
    summary = result.summary
    passed = summary["verdict"] == "pass"
    mark = '<span class="ok">all bars held</span>' if passed else '<span class="no">a bar was missed</span>'
    flight = summary["flight"]
    low_m, high_m = flight["height_m"]
    lead = (
        f"Synthetic region {summary['seed']}, {flight['seconds']:g} s at {flight['rate_hz']:g} Hz, {low_m:g} to "
        f"{high_m:g} m above the ground, no GNSS, no prior. The camera flies over the land on another day than the "
        "map's: other season, sun, cars, crops, some houses. Simulated time, real code."
    )
    cards = "".join(f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for label, value in _tiles(result))
    charts = "".join(f"<section><h2>{title}</h2>{chart}</section>" for title, chart in _charts(result.flight))
    machine = html.escape(", ".join(f"{key} {value}" for key, value in summary["machine"].items()))
    took = ", ".join(f"{seconds:.1f} s to {step}" for step, seconds in summary["seconds"].items() if step != "total")
    title = f"Pilotage demo, seed {summary['seed']}"
    track = '<img src="track.png" alt="track over the map">'
    body = f"""<div class="tiles">{cards}</div>
<div class="grid"><section><h2>Where it was, where it said it was</h2>{track}</section>
<section><h2>Bars</h2>{_bars(result.bars)}</section></div>
<section><h2>What the camera saw, and the map there</h2><div class="pairs">{_pairs(result)}</div></section>
<div class="grid">{charts}</div>
<section><h2>Machine</h2><p>{machine}</p><p>Took {html.escape(took)}.</p></section>"""
    return page(title, f"Pilotage demo: {mark}", lead, body)


def _tiles(result: DemoResult) -> list[tuple[str, str]]:
    summary = result.summary

    def show(key: str, form: str) -> str:
        value = summary[key]
        return "none" if value is None else form.format(value)

    return [
        ("to the first fix", show("first_fix_s", "{:.2f} s")),
        ("availability", show("availability", "{:.1%}")),
        ("median error", show("median_error_m", "{:.2f} m")),
        ("95th percentile", show("p95_error_m", "{:.2f} m")),
        ("largest error", show("max_error_m", "{:.2f} m")),
        ("inside 1 sigma (68 % is honest)", show("coverage_1sigma", "{:.1%}")),
        ("latency p95, one core", show("latency_p95_ms", "{:.1f} ms")),
        ("fixes outside the region", show("outside_fixes", "{}")),
    ]


def _bars(bars: Sequence[Bar]) -> str:
    rows = []
    for bar in bars:
        word = '<td class="ok">held</td>' if bar.held else '<td class="no">MISSED</td>'
        value = "none" if bar.value is None else f"{bar.value:.4g}"
        sign = "≥" if bar.at_least else "≤"
        rows.append(
            f'<tr><td>{bar.name}</td><td class="n">{value}</td><td class="n">{sign} {bar.limit:g}</td>{word}</tr>'
        )
    return f"<table><tr><th>bar</th><th>value</th><th>limit</th><th></th></tr>{''.join(rows)}</table>"


def _charts(flight: Sequence[Flown]) -> list[tuple[str, str]]:
    time_s = [(f.fix.stamp_ns - flight[0].fix.stamp_ns) / 1e9 for f in flight]
    miss_m = np.hypot(*errors_m([f.fix for f in flight], [f.truth for f in flight]).T)
    claim_m = [2.4477 * f.fix.std_horizontal_m if f.fix.has_position else np.nan for f in flight]
    good = np.sort(miss_m[np.isfinite(miss_m)])
    latency_ms = np.sort([f.latency_s * 1e3 for f in flight])
    top_m = max(6.0, float(np.nanmax(miss_m)) * 1.1 if good.size else 0.0)
    over_time = Chart(Axis("seconds of flight", 0, time_s[-1]), Axis("metres", 0, top_m))
    over_time.band(time_s, claim_m, "sigma")
    over_time.line(time_s, list(miss_m), "main")
    cdf = Chart(Axis("error, m", 0, max(16.0, top_m)), Axis("share of fixes", 0, 1))
    if good.size:
        cdf.line([0.0, *good], [0.0, *(np.arange(1, good.size + 1) / good.size)], "main")
    cdf.limit(15, "95 % must lie left of here", vertical=True)
    top_ms = max(160.0, float(latency_ms[-1]) * 1.05)
    late = Chart(Axis("exposure in memory to MAVLink bytes, ms", 0, top_ms), Axis("share of frames", 0, 1))
    late.line([0.0, *latency_ms], [0.0, *(np.arange(1, len(latency_ms) + 1) / len(latency_ms))], "main")
    late.limit(150, "p95 must lie left of here", vertical=True)
    scores = Chart(Axis("seconds of flight", 0, time_s[-1]), Axis("score", 0, 1))
    scores.line(time_s, [f.fix.score for f in flight], "main")
    return [
        ("Error, and the 95 % radius that was claimed", over_time.svg()),
        ("Error distribution", cdf.svg()),
        ("Latency distribution", late.svg()),
        ("Agreement of frame and map", scores.svg()),
    ]


def _pairs(result: DemoResult) -> str:
    """Four moments: the raw frame, the frame turned north-up, the map at the fix."""
    with_fix = [f for f in result.flight if f.fix.has_position]
    if not with_fix:
        return "<p>no fix, no pictures</p>"
    figures = []
    with RegionPack.open(result.pack) as pack:
        manifest = pack.manifest
        for flown in with_fix[:: max(len(with_fix) // 4, 1)][:4]:
            side = manifest.contract.width
            patch = rectify(flown.frame, ground_size_m=manifest.tile_m, side_px=side, config=RectifyConfig())
            if not isinstance(patch, Patch):
                continue
            north_m, east_m = pack.frame.to_local(flown.fix.lat_deg, flown.fix.lon_deg)
            row, column = pack.pixel_of(north_m + patch.offset_north_m, east_m + patch.offset_east_m)
            ground, _ = pack.map_window(round(row - (side - 1) / 2), round(column - (side - 1) / 2), side, side)
            seconds = (flown.fix.stamp_ns - result.flight[0].fix.stamp_ns) / 1e9
            caption = f"{seconds:.1f} s, {flown.frame.height_m:.0f} m high, score {flown.fix.score:.2f}"
            pair = np.hstack([patch.image, ground])
            figures.append(
                f"<figure>{embedded(flown.frame.image)}{embedded(_enlarge(pair))}"
                f"<figcaption>{caption}; below: turned north-up | the map</figcaption></figure>"
            )
    return "".join(figures)


def _enlarge(picture: Rgb) -> Rgb:
    return np.asarray(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
