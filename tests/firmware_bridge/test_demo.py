"""The demo, small: the same code as `make demo`, over less land and for less time."""

import json
import re

import pytest

from pilotage.cli import main
from pilotage_bridge import demo_cli
from pilotage_bridge.demo import Bar, DemoConfig, run
from pilotage_bridge.demo_picture import draw_track
from pilotage_bridge.demo_report import report

SUMMARY_KEYS = {
    "availability",
    "median_error_m",
    "p95_error_m",
    "max_error_m",
    "false_fix_rate",
    "coverage_1sigma",
    "first_fix_s",
    "latency_p50_ms",
    "latency_p95_ms",
    "machine",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return run(DemoConfig(out=out, seed=41, seconds=10.0, outside_seconds=4.0, size_m=1000.0))


def test_demo_fixes_a_flight_and_the_listener_hears_all_of_it(small):
    summary = small.summary
    assert set(summary) >= SUMMARY_KEYS
    assert summary["availability"] > 0.9
    assert summary["median_error_m"] < 5
    assert summary["mavlink"]["lost_or_bad"] == 0
    assert summary["mavlink"]["positions"] == summary["mavlink"]["positions_expected"] > 60
    assert summary["mavlink"]["worst_difference_deg"] <= 1e-7
    assert summary["mavlink"]["messages"]["HEARTBEAT"] >= 10


def test_demo_gives_no_fix_outside_the_region(small):
    assert small.summary["outside_frames"] > 20
    assert small.summary["outside_fixes"] == 0


def test_demo_verdict_is_that_of_its_bars(small):
    assert small.summary["verdict"] == ("pass" if all(bar.held for bar in small.bars) else "fail")
    assert len(small.bars) == 10
    json.dumps(small.summary, allow_nan=False)


def test_bar_is_missed_by_what_is_worse_and_by_what_is_absent():
    assert Bar("error", 4.9, 5.0).held
    assert not Bar("error", 5.1, 5.0).held
    assert not Bar("error", None, 5.0).held
    assert Bar("availability", 0.95, 0.95, at_least=True).held
    assert not Bar("availability", 0.94, 0.95, at_least=True).held


def test_demo_page_stands_alone_and_names_every_bar(small):
    page = report(small)
    for bar in small.bars:
        assert bar.name in page
    assert "http" not in re.sub(r"data:[^\"]+", "", page).replace("http-equiv", "")
    assert page.count("<svg") == 4
    assert page.count("data:image/jpeg") == 8


def test_demo_picture_shows_the_flight(small):
    picture = draw_track(small.world, small.flight)
    green = (picture[..., 1] > 200) & (picture[..., 0] < 120)
    assert green.sum() > 300


def test_demo_fails_loudly_when_a_bar_is_missed(small, tmp_path, monkeypatch, capsys):
    small.summary["verdict"] = "fail"
    monkeypatch.setattr(demo_cli, "run", lambda _: small)
    try:
        assert main(["demo", "--out", str(tmp_path)]) == demo_cli.BAR_MISSED == 3
    finally:
        small.summary["verdict"] = "pass" if all(bar.held for bar in small.bars) else "fail"
    assert "FAIL: a bar was missed" in capsys.readouterr().out
    assert (tmp_path / "summary.json").is_file()
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "track.png").is_file()
