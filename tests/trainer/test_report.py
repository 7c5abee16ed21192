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
from pilotage_trainer.report.sheet import _AMBER, _GREEN, _RED, chosen_queries, sheet

HEIGHT, REFERENCE = 128 + 8 + 20, 128 + 8 + 6


class Plain:
    """Grey pictures, the third unreadable."""

    def __init__(self, count, size):
        self._count, self._size = count, size

    def __len__(self):
        return self._count

    def name(self, index):
        return f"<b>{index}</b>"

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
    found = np.array([[3, 4, 0, 1, 2]])
    picture = sheet(
        split, [("worst", 0)], ranks=np.array([2]), found=found, scores=np.linspace(0.9, 0.5, 5, dtype=np.float32)[None]
    )
    start = 384 + 8 + 6 + REFERENCE
    edges = [tuple(int(v) for v in picture[30, start + k * REFERENCE + 1]) for k in range(5)]
    assert edges == [_RED, _AMBER, _GREEN, _RED, _RED]
    assert picture.shape == (HEIGHT, start + 5 * REFERENCE, 3)


def test_the_same_queries_are_chosen_every_time():
    ranks = np.array([5, 0, 9, 0, 1, 7, 0, 2, 3])
    rows = chosen_queries(ranks)
    assert [word for word, _ in rows] == ["worst"] * 3 + ["middle"] * 3 + ["best"] * 3
    assert [i for _, i in rows] == [2, 5, 0, 4, 7, 8, 1, 3, 6] and chosen_queries(ranks) == rows
    assert chosen_queries(np.array([0])) == [("worst", 0), ("middle", 0), ("best", 0)]


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


def test_curves_take_what_the_log_has(tmp_path):
    assert curves(tmp_path) == []
    (tmp_path / "log.csv").write_text("step,loss\n1,3.0\n2,2.0\n3,nan\n4,1.0\n")
    (tmp_path / "validation.jsonl").write_text(json.dumps({"step": 4, "part": "val", "recall_at_1": 0.5}) + "\n")
    titles = [title for title, _ in curves(tmp_path)]
    assert titles == ["Loss", "Recall@1, val"]
    assert all(chart.startswith("<svg") and "nan" not in chart for _, chart in curves(tmp_path))


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
        parts=[Part(split, query, aerial, {"recall_at_1": 0.25, "median_m": 3.0})],
        cost={"params_m": 0.7},
        model=build(of).eval(),
        views=views(of),
        normalise=Normalise(of, torch.device("cpu")),
    )
    page = write_report(tmp_path / "report", given).read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "&lt;set&gt;" in page and "<set>" not in page
    assert "25.00%" in page and "3.0 m" in page and 'src="http' not in page
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["heat-0.png", "report.html", "sheet-0.png"]
