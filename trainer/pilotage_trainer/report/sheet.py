"""Retrieval sheets: a query a row, its true reference, and what was found instead or as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ImageError
from pilotage.values import Rgb
from pilotage_trainer import metrics
from pilotage_trainer.data.split import Images, Split
from pilotage_trainer.report.lettering import INK, LINE_PX, PAPER, folded, letter

_HEIGHT, _QUERY_WIDTH, _EDGE, _GAP = 150, 400, 4, 8
_NAME_LINES = 2
_CAPTION = (1 + _NAME_LINES) * LINE_PX + 8
_GREEN, _AMBER, _RED, _GREY = (34, 139, 69), (217, 140, 0), (205, 40, 40), (120, 120, 120)
_VERDICTS = {_GREEN: "right", _AMBER: "near", _RED: "wrong"}
_FOUND = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One query of a sheet: why it was chosen, the true reference most like it, and what was found."""

    word: str
    query: int
    rank: int  # from 0
    truth: int
    truth_score: float
    found: tuple[int, ...]  # best first
    scores: tuple[float, ...]


def rows_of(split: Split, query: NDArray[np.float32], aerial: NDArray[np.float32]) -> list[Row]:
    """Choose queries and look up what was found for them."""
    ranks = metrics.ranks(query, aerial, split.query_id, split.aerial_id)
    chosen = chosen_queries(ranks)
    found, scores = metrics.top(query[[i for _, i in chosen]], aerial, _FOUND)
    rows = []
    for number, (word, i) in enumerate(chosen):
        true = np.flatnonzero(split.aerial_id == split.query_id[i])
        best, score = metrics.top(query[i : i + 1], aerial[true], 1)
        truth, truth_score = int(true[best[0, 0]]), float(score[0, 0])
        seen = tuple(map(int, found[number])), tuple(map(float, scores[number]))
        rows.append(Row(word, i, int(ranks[i]), truth, truth_score, *seen))
    return rows


def chosen_queries(ranks: NDArray[np.int64], each: int = 2) -> list[tuple[str, int]]:
    """Return some of the worst, the middle and the best found queries, and some by chance: the same ones every time."""
    order = np.lexsort((np.arange(len(ranks)), ranks))
    middle = max(0, len(order) // 2 - each // 2)
    by_chance = np.random.default_rng(0x5EED).permutation(len(ranks))
    out: dict[int, str] = {}
    for word, some in (("worst", order[::-1]), ("best", order), ("middle", order[middle:]), ("by chance", by_chance)):
        spare = [int(i) for i in some if int(i) not in out]
        out |= dict.fromkeys(spare[:each], word)
    places = {word: n for n, word in enumerate(("worst", "middle", "best", "by chance"))}
    return sorted(((word, i) for i, word in out.items()), key=lambda pair: places[pair[0]])


def sheet(split: Split, rows: Sequence[Row]) -> Rgb:
    """Return query, truth and the best found: green is right, amber shows the place too, red is wrong."""
    lines = []
    for row in rows:
        caption = f"{row.word}: rank {row.rank + 1} of {len(split.aerial)}"
        cells = [
            _cell(split.query, row.query, caption, _GREY, _QUERY_WIDTH),
            _cell(split.aerial, row.truth, f"truth  {row.truth_score:.3f}", _GREY, _HEIGHT),
        ]
        for place, (reference, score) in enumerate(zip(row.found, row.scores, strict=True)):
            colour = _colour(split, row.query, reference)
            caption = f"{place + 1}: {score:.3f} {_VERDICTS[colour]}"
            cells.append(_cell(split.aerial, reference, caption, colour, _HEIGHT))
        lines.append(np.hstack(cells))
    return np.vstack(lines)


def _colour(split: Split, query: int, reference: int) -> tuple[int, int, int]:
    key = split.aerial_id[reference]
    if key == split.query_id[query]:
        return _GREEN
    semi = split.semi_id is not None and key in split.semi_id[query]
    return _AMBER if semi else _RED


def _cell(images: Images, index: int, caption: str, colour: tuple[int, int, int], width: int) -> Rgb:
    """Return one picture in its frame, on paper, what is said of it and its name below."""
    out = np.full((_HEIGHT + 2 * _EDGE + _CAPTION, width + 2 * _EDGE + _GAP, 3), PAPER, np.uint8)
    name = images.name(index)
    try:
        picture = images.read(index, np.random.default_rng([0xE7A1, index]))
    except ImageError:
        picture = np.full((_HEIGHT, width, 3), 128, np.uint8)
        letter(picture, "unreadable", 8, _HEIGHT // 2, colour=(255, 255, 255))
    scale = min(width / picture.shape[1], _HEIGHT / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
    top, left = _EDGE + (_HEIGHT - size[1]) // 2, _EDGE + (width - size[0]) // 2
    cv2.rectangle(out, (left - _EDGE, top - _EDGE), (left + size[0] + _EDGE - 1, top + size[1] + _EDGE - 1), colour, -1)
    out[top : top + size[1], left : left + size[0]] = small
    bottom = _HEIGHT + 2 * _EDGE + LINE_PX - 2
    letter(out, caption, _EDGE, bottom, colour=INK if colour == _GREY else colour)
    for number, line in enumerate(folded(name, width + _EDGE, _NAME_LINES)):
        letter(out, line, _EDGE, bottom + (number + 1) * LINE_PX, colour=_GREY)
    return out
