"""The bar, with a clock of our own."""

import io

import pytest

from pilotage.progress import Progress, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def test_progress_says_the_rate_and_the_time_left(clock):
    out = io.StringIO()
    bar = Progress("encode", 60, unit="tile", stream=out, clock=clock)
    clock.now_s += 10
    bar.add(20)
    assert out.getvalue() == "encode             ████████················  33% 20/60 2.0 tile/s, 20 s left\n"


def test_progress_ends_with_what_it_took(clock):
    out = io.StringIO()
    with Progress("encode", 60, unit="tile", stream=out, clock=clock) as bar:
        clock.now_s += 8
        bar.add(60)
    assert out.getvalue() == "encode             ████████████████████████ 100% 60/60 7.5 tile/s, took 8.0 s\n"


def test_progress_in_a_log_is_a_line_every_ten_seconds(clock):
    out = io.StringIO()
    with Progress("fly", 100, stream=out, clock=clock) as bar:
        for _ in range(100):
            clock.now_s += 0.5
            bar.add()
    lines = out.getvalue().splitlines()
    assert [line.split()[3] for line in lines] == ["20/100", "40/100", "60/100", "80/100", "100/100", "100/100"]
    assert "\r" not in out.getvalue()


def test_progress_on_a_terminal_redraws_one_line_ten_times_a_second(clock):
    out = Terminal()
    with Progress("fly", 100, stream=out, clock=clock) as bar:
        for _ in range(100):
            clock.now_s += 0.03125  # a binary fraction: four of them are an eighth of a second
            bar.add()
    text = out.getvalue()
    assert text.count("\r") == 25 + 1 and text.count("\n") == 1 and text.endswith("\n")
    assert len({len(line) for line in text.strip("\r\n").split("\r")}) == 1, "a shorter line must cover a longer one"


def test_progress_with_nothing_to_do(clock):
    out = io.StringIO()
    with Progress("fly", 0, stream=out, clock=clock):
        pass
    assert out.getvalue().count("\n") == 1


def test_progress_promises_no_time_before_anything_is_done(clock):
    out = io.StringIO()
    with Progress("fly", 5, stream=out, clock=clock):
        clock.now_s += 3
    assert "0/5" in out.getvalue() and "left" not in out.getvalue()


def test_progress_past_its_total_stays_at_all_of_it(clock):
    out = io.StringIO()
    with Progress("fly", 2, stream=out, clock=clock) as bar:
        clock.now_s += 1
        bar.add(3)
    assert "100% 3/2" in out.getvalue()


def test_progress_ends_its_line_when_the_work_fails(clock):
    out = Terminal()
    with pytest.raises(KeyError), Progress("fly", 2, stream=out, clock=clock):
        raise KeyError
    assert out.getvalue().endswith("\n")


def test_track_yields_everything_in_order_and_reports_to_stderr(capsys):
    assert list(track(iter("abc"), "read", 3, unit="file")) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == "" and "3/3" in err and "file/s" in err


def test_track_counts_an_item_when_its_work_is_done(capsys):
    steps = track(range(3), "read", 3)
    next(steps)
    next(steps)
    steps.close()
    assert "1/3" in capsys.readouterr().err
