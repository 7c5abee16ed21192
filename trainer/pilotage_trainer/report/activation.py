"""Heat maps: how much every position of a view adds to the cosine with its partner.

Activation times gradient, summed over the channels: for descriptors that are linear in the feature map (GAP, FRM, up to
the last normalisation) that is each position's own share of the score. What counts against the match is left dark, and
every map is scaled to its own warmest place: two maps do not compare in strength.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pilotage.values import Rgb
from pilotage_trainer.data.feed import OneView
from pilotage_trainer.data.views import View, unpolar
from pilotage_trainer.describe import Normalise
from pilotage_trainer.models import TwoBranch
from pilotage_trainer.models.encoder import Encoder, unit
from pilotage_trainer.report.lettering import LINE_PX, PAPER, letter
from pilotage_trainer.report.sheet import Row

_UNROLLED_PX = 256
_CELL_PX, _GAP = 128, 4


def heat(encoder: Encoder, pixels: Tensor, partner: Tensor) -> NDArray[np.float32]:
    """Return (h, w) from 0 to 1 for one picture, (1, 3, H, W), and the descriptor (D,) it should be like."""
    was = encoder.training
    encoder.eval()
    with torch.no_grad():
        features = encoder.features(pixels)
    with torch.enable_grad():
        features = features.detach().requires_grad_()
        score = (unit(encoder.aggregate(features))[0] * partner.to(pixels.device)).sum()
        (gradient,) = torch.autograd.grad(score, features)
    encoder.train(was)
    share = (features * gradient).sum(dim=1)[0].clamp(min=0).detach().float().cpu().numpy()
    return np.asarray(share / max(float(share.max()), 1e-12), np.float32)


def overlay(picture: Rgb, warmth: NDArray[np.float32], view: View) -> Rgb:
    """Lay the heat over the picture that the network saw; a polar strip is rolled back into its square."""
    smooth = np.clip(_enlarged(warmth, picture.shape[0], picture.shape[1], round_about=view.polar), 0, 1)
    colours = cv2.applyColorMap((255 * smooth).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    mixed = (0.45 * picture + 0.55 * colours).astype(np.uint8)
    return np.asarray(unpolar(mixed, _UNROLLED_PX), np.uint8) if view.polar else mixed


def _enlarged(warmth: NDArray[np.float32], height_px: int, width_px: int, *, round_about: bool) -> NDArray[np.float32]:
    """Enlarge smoothly; the two ends of a polar strip are neighbours."""
    columns = warmth.shape[1]
    around = min(2, columns) if round_about else 0
    wide = np.pad(warmth, ((0, 0), (around, around)), mode="wrap")
    size = (round(width_px * wide.shape[1] / columns), height_px)
    left = round(width_px * around / columns)
    return np.asarray(cv2.resize(wide, size, interpolation=cv2.INTER_CUBIC)[:, left : left + width_px], np.float32)


def heat_sheet(
    model: TwoBranch,
    normalise: Normalise,
    sides: tuple[tuple[OneView, Tensor], tuple[OneView, Tensor]],
    rows: Sequence[Row],
) -> Rgb:
    """Return a line a query: the query as the network saw it, its heat, the true reference, its heat.

    `sides` are the pictures in their view and the descriptors (N, D) of queries and of references.
    """
    (queries, query_descriptors), (aerials, aerial_descriptors) = sides
    lines = []
    for row in rows:
        query = _seen(model.query, normalise, queries, row.query, aerial_descriptors[row.truth])
        aerial = _seen(model.aerial, normalise, aerials, row.truth, query_descriptors[row.query])
        lines.append(_line([*query, *aerial], f"{row.word}: rank {row.rank + 1}, cosine {row.truth_score:.3f}"))
    return np.vstack([_heads([cell.shape[1] for cell in map(_scaled, [*query, *aerial])]), *lines])


def _seen(encoder: Encoder, normalise: Normalise, pictures: OneView, index: int, partner: Tensor) -> tuple[Rgb, Rgb]:
    """Return a picture as the network sees it, square where it is polar, and with its heat."""
    seen, _ = pictures[index]
    warm = overlay(seen, heat(encoder, normalise(torch.from_numpy(seen)[None]), partner), pictures.view)
    plain = np.asarray(unpolar(seen, _UNROLLED_PX), np.uint8) if pictures.view.polar else seen
    return plain, warm


def _line(cells: Sequence[Rgb], caption: str) -> Rgb:
    """Set pictures of one height side by side, a caption below."""
    body = np.hstack([np.pad(_scaled(c), ((0, 0), (0, _GAP), (0, 0)), constant_values=PAPER) for c in cells])
    below = np.full((LINE_PX + 8, body.shape[1], 3), PAPER, np.uint8)
    letter(below, caption, 2, LINE_PX - 2)
    return np.vstack([body, below])


def _heads(widths_px: Sequence[int]) -> Rgb:
    """Return what stands above the columns: queries, references."""
    out = np.full((LINE_PX + 6, sum(widths_px) + _GAP * len(widths_px), 3), PAPER, np.uint8)
    letter(out, "query, and its heat", 2, LINE_PX - 3)
    letter(out, "true reference, and its heat", widths_px[0] + widths_px[1] + 2 * _GAP + 2, LINE_PX - 3)
    return out


def _scaled(picture: Rgb) -> Rgb:
    width = max(1, round(picture.shape[1] * _CELL_PX / picture.shape[0]))
    how = cv2.INTER_AREA if picture.shape[0] > _CELL_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, _CELL_PX), interpolation=how), np.uint8)
