"""The report: right frames round right pictures, heat where the score comes from, names that cannot break the page."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from pilotage.errors import ImageError
from pilotage_trainer.data.split import Split
from pilotage_trainer.data.views import View
from pilotage_trainer.models.encoder import Encoder
from pilotage_trainer.report.activation import heat, overlay
from pilotage_trainer.report.curves import curves
from pilotage_trainer.report.lettering import folded, width_px
from pilotage_trainer.report.sheet import _AMBER, _GREEN, _RED, Row, chosen_queries, rows_of, sheet

QUERY, REFERENCE = 400 + 8 + 8, 150 + 8 + 8


class Plain:
    """Grey pictures, the third unreadable."""

    def __init__(self, count, size):
        self._count, self._size = count, size

    def __len__(self):
        return self._count

    def name(self, index):
        return "a/long/path/" * 12 + f"<b>{index}</b>"

    def read(self, index, rng):
        if index == 2 and self._size[0] == self._size[1]:
            raise ImageError("no")
        return np.full((*self._size, 3), 100 + index, np.uint8)


@pytest.fixture
def split():
    ids = np.arange(6)
    semi = np.tile([4, 5, -1], (6, 1))
    return Split("<set>", Plain(6, (32, 128)), Plain(6, (64, 64)), ids, ids, semi_id=semi)


def test_frames_say_right_also_right_and_wrong(split):
    row = Row("worst", 0, 2, 0, 0.7, found=(3, 4, 0, 1, 2), scores=(0.9, 0.8, 0.7, 0.6, 0.5))
    picture = sheet(split, [row, row])
    start = QUERY + REFERENCE
    edges = [tuple(int(v) for v in picture[30, start + k * REFERENCE + 1]) for k in range(5)]
    assert edges == [_RED, _AMBER, _GREEN, _RED, _RED]
    assert picture.shape[1:] == (start + 5 * REFERENCE, 3)
    below = picture[160 : picture.shape[0] // 2]  # words under every picture, none of them over the edge
    for k in range(7):
        left = 0 if k == 0 else QUERY + (k - 1) * REFERENCE
        right = QUERY + k * REFERENCE
        assert (below[:, left:right] < 200).any() and (below[:, right - 3 : right] > 240).all()


def test_the_same_queries_are_chosen_every_time_and_none_twice():
    ranks = np.array([5, 0, 9, 0, 1, 7, 0, 2, 3, 0, 0, 4])
    rows = chosen_queries(ranks)
    assert [word for word, _ in rows] == [w for w in ("worst", "middle", "best", "by chance") for _ in range(2)]
    assert [i for _, i in rows][:6] == [2, 5, 4, 7, 1, 3] and chosen_queries(ranks) == rows
    for count in range(1, 12):
        chosen = [i for _, i in chosen_queries(ranks[:count])]
        assert len(set(chosen)) == len(chosen) == min(count, 8)


def test_the_truth_shown_is_the_one_most_alike():
    query = np.eye(4, dtype=np.float32)[:2]
    aerial = np.array([[0.6, 0.8, 0, 0], [0.8, 0, 0.6, 0], [0, 0.6, 0.8, 0], [0.9, 0, 0, 0.436]], np.float32)
    several = Split("s", Plain(2, (32, 128)), Plain(4, (64, 64)), np.array([7, 9]), np.array([7, 7, 9, 1]))
    first, second = sorted(rows_of(several, query, aerial), key=lambda row: row.query)
    assert (first.truth, first.rank, first.found) == (1, 1, (3, 1, 0, 2)) and first.truth_score == pytest.approx(0.8)
    assert (second.truth, second.rank, second.found[:2]) == (2, 1, (0, 2))


def test_long_names_keep_their_ends():
    name = "/data/" + "x" * 90 + "/satellite_40.7181389_-74.0021306.png"
    lines = folded(name, 150, 2)
    assert len(lines) == 2 and all(width_px(line) <= 150 for line in lines)
    assert lines[0].startswith("...") and "".join(lines).endswith("-74.0021306.png")
    assert folded("short.png", 150, 2) == ["short.png"] and folded("", 150, 2) == []


class Looker(Encoder):
    """Two channels of brightness; the descriptor is their mean over one corner and the rest."""

    descriptor = 2

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(4)

    def features(self, pixels):
        return self.pool(pixels[:, :2])

    def aggregate(self, features):
        return features.mean(dim=(2, 3))


def test_heat_is_where_the_score_comes_from():
    pixels = torch.zeros(1, 3, 16, 32)
    pixels[0, 0, 4:8, 8:12] = 1.0  # speaks for the partner
    pixels[0, 1, 8:12, 20:24] = 1.0  # speaks against it
    encoder = Looker().train()
    warmth = heat(encoder, pixels, torch.tensor([1.0, 0.0]))
    assert warmth.shape == (4, 8) and np.argwhere(warmth == 1.0).tolist() == [[1, 2]]
    assert warmth.sum() == pytest.approx(1.0) and encoder.training


def test_heat_of_a_polar_strip_lies_in_its_square():
    strip = np.zeros((32, 128, 3), np.uint8)
    warmth = np.zeros((4, 16), np.float32)
    warmth[0, 12] = 1.0  # the rim, three quarters round from south: east
    shown = overlay(strip, warmth, View(32, 128, polar=True)).sum(axis=2)
    rows, columns = np.nonzero(shown > 0.8 * shown.max())
    assert shown.shape == (256, 256) and columns.mean() > 200 and abs(rows.mean() - 128) < 30


def test_heat_of_a_polar_strip_has_no_seam():
    strip = np.zeros((32, 128, 3), np.uint8)
    warmth = np.zeros((4, 16), np.float32)
    warmth[:, 0] = 1.0  # due south, where the strip begins and ends
    flat, rolled = (overlay(strip, warmth, View(32, 128, polar=p)).sum(axis=2).astype(int) for p in (False, True))
    assert flat[16, 0] > 3 * flat[16, 127]
    ends = overlay(strip, np.roll(warmth, 8, axis=1), View(32, 128, polar=True)).sum(axis=2).astype(int)
    assert np.abs(rolled[200, 118:138] - ends[55, 118:138][::-1]).max() < 40  # as smooth in the south as in the north


def test_curves_take_what_the_log_has(tmp_path):
    assert curves(tmp_path) == []
    (tmp_path / "log.csv").write_text("step,loss\n1,3.0\n2,2.0\n3,nan\n4,1.0\n")
    (tmp_path / "validation.jsonl").write_text(json.dumps({"step": 4, "part": "val", "recall_at_1": 0.5}) + "\n")
    titles = [title for title, _ in curves(tmp_path)]
    assert titles == ["Loss", "Recall@1, val"]
    assert all(chart.startswith("<svg") and "nan" not in chart for _, chart in curves(tmp_path))


def test_curves_of_a_run_that_was_cut(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss,lr\n1,3.0,2e-5\n2,2.0,1e-5\n3,1.")
    rows = ['{"step": 4, "epoch": 1, "recall_at_1": 0.5}', "7", '{"epoch": 2, "recall_at_1": 0.6}', '{"step": 8, "rec']
    (tmp_path / "validation.jsonl").write_text("\n".join(rows))
    found = dict(curves(tmp_path))
    assert list(found) == ["Loss", "Learning rate", "Recall@1, held out"]
    assert "learning rate, in 1e-5" in found["Learning rate"] and ">2</text>" in found["Learning rate"]


def test_recall_is_drawn_only_where_it_was_measured(tmp_path):
    (tmp_path / "validation.jsonl").write_text('{"step": 100, "recall_at_1": 0.5}\n')
    ((_, chart),) = curves(tmp_path)
    marks = [points.split('"')[0] for points in chart.split('class="main" points="')[1:]]
    assert marks and all(float(pair.split(",")[0]) > 580 for points in marks for pair in points.split())


def test_a_long_run_is_told_to_be_averaged(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n" + "".join(f"{i},{1 / i}\n" for i in range(1, 1201)))
    ((title, chart),) = curves(tmp_path)
    assert title == "Loss, means of 3 steps" and chart.count(",") < 1000


def test_a_page_escapes_the_names_of_a_data_set(split, tmp_path):
    from pilotage_trainer.checkpoint import build, views
    from pilotage_trainer.describe import Normalise
    from pilotage_trainer.recipe import recipe
    from pilotage_trainer.report import ReportInput, write_report
    from pilotage_trainer.report.page import Part

    of = recipe("frgeo-world")
    rng = torch.Generator().manual_seed(0)
    query, aerial = (torch.nn.functional.normalize(torch.randn(6, 512, generator=rng), dim=1) for _ in range(2))
    given = ReportInput(
        title="<script>",
        lead="a & b",
        parts=[Part(split, query, aerial, {"recall_at_1": 0.25, "median_m": 3.0, "within_5_m": 0.75, "tied": 0.5})],
        cost={"params_m": 0.7},
        model=build(of).eval(),
        views=views(of),
        normalise=Normalise(of, torch.device("cpu")),
    )
    page = write_report(tmp_path / "report", given).read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "&lt;set&gt;" in page and "<set>" not in page
    assert "25.00%" in page and "<td>median</td>" in page and "3.0 m" in page and 'src="http' not in page
    assert "<td>within 5 m</td>" in page and "truth tied with a wrong reference" in page and "Measured on" in page
    assert "/&lt;b&gt;0&lt;/b&gt;</td>" in page and "<b>0</b>" not in page  # names of pictures
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["heat-0.png", "report.html", "sheet-0.png"]
