"""Retrieval sheets: a query a row, its true reference, and what was found instead or as well."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ImageError
from pilotage.values import Rgb
from pilotage_trainer.data.split import Images, Split

_HEIGHT, _QUERY_WIDTH, _EDGE, _CAPTION = 128, 384, 4, 20
_GREEN, _AMBER, _RED, _GREY = (34, 139, 69), (217, 140, 0), (205, 40, 40), (120, 120, 120)
_PAPER, _INK = 250, (40, 40, 40)


def chosen_queries(ranks: NDArray[np.int64], each: int = 3) -> list[tuple[str, int]]:
    """Return some of the worst, of the middle and of the best found queries, the same ones every time."""
    order = np.lexsort((np.arange(len(ranks)), ranks))
    each = min(each, max(1, len(ranks) // 3))
    middle = max(0, len(order) // 2 - each // 2)
    groups = (("worst", order[::-1][:each]), ("middle", order[middle : middle + each]), ("best", order[:each]))
    return [(word, int(i)) for word, rows in groups for i in rows]


def sheet(
    split: Split,
    rows: Sequence[tuple[str, int]],
    *,
    ranks: NDArray[np.int64],
    found: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> Rgb:
    """Return query, truth and the best found: green is right, amber shows the place too, red is wrong."""
    lines = []
    for word, query in rows:
        own = split.query_id[query]
        true = int(np.flatnonzero(split.aerial_id == own)[0])
        cells = [_cell(split.query, query, f"{word}: rank {ranks[query] + 1}", _GREY, _QUERY_WIDTH)]
        cells.append(_cell(split.aerial, true, "truth", _GREY, _HEIGHT))
        for place, reference in enumerate(found[query]):
            colour = _colour(split, query, int(reference))
            cells.append(
                _cell(split.aerial, int(reference), f"{place + 1}: {scores[query, place]:.3f}", colour, _HEIGHT)
            )
        lines.append(np.hstack(cells))
    return np.vstack(lines)


def _colour(split: Split, query: int, reference: int) -> tuple[int, int, int]:
    key = split.aerial_id[reference]
    if key == split.query_id[query]:
        return _GREEN
    semi = split.semi_id is not None and key in split.semi_id[query]
    return _AMBER if semi else _RED


def _cell(images: Images, index: int, caption: str, colour: tuple[int, int, int], width: int) -> Rgb:
    """Return one picture in its frame, on paper, its caption below."""
    out = np.full((_HEIGHT + 2 * _EDGE + _CAPTION, width + 2 * _EDGE + 6, 3), _PAPER, np.uint8)
    try:
        picture = images.read(index, np.random.default_rng([0xE7A1, index]))
    except ImageError:
        picture = np.full((_HEIGHT, width, 3), 128, np.uint8)
        caption = "unreadable"
    scale = min(width / picture.shape[1], _HEIGHT / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
    top, left = _EDGE + (_HEIGHT - size[1]) // 2, _EDGE + (width - size[0]) // 2
    cv2.rectangle(out, (left - _EDGE, top - _EDGE), (left + size[0] + _EDGE - 1, top + size[1] + _EDGE - 1), colour, -1)
    out[top : top + size[1], left : left + size[0]] = small
    at = (left, _HEIGHT + 2 * _EDGE + _CAPTION - 7)
    cv2.putText(out, caption, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
    return out
