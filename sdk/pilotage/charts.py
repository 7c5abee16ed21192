"""Small charts as SVG: crisp at any size, no dependency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 620, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 40


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: label and range."""

    label: str
    low: float
    high: float

    def ticks(self) -> list[float]:
        """Return about five round numbers."""
        span = max(self.high - self.low, 1e-9)
        step = 10 ** np.floor(np.log10(span / 4))
        step *= next(m for m in (1, 2, 5, 10) if span / (m * step) <= 6)
        first = np.ceil(self.low / step - 1e-9) * step
        return [float(t) + 0.0 for t in np.arange(first, self.high + step * 1e-6, step)]  # no -0


class Chart:
    """Collects shapes; `svg()` gives the picture."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self._x, self._y = x, y
        self._shapes: list[str] = []

    def _at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
        px = _LEFT + (x - self._x.low) / (self._x.high - self._x.low) * (_WIDTH - _LEFT - _RIGHT)
        share = (np.clip(y, self._y.low, self._y.high) - self._y.low) / (self._y.high - self._y.low)
        py = _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))

    def line(self, x: Sequence[float], y: Sequence[float], kind: str) -> None:
        """Draw a line; it breaks where y is not finite."""
        xs, ys = np.asarray(x, float), np.asarray(y, float)
        good = np.isfinite(ys)
        for piece in np.split(np.arange(len(xs)), np.flatnonzero(np.diff(good.astype(int))) + 1):
            if len(piece) > 1 and good[piece[0]]:
                self._shapes.append(f'<polyline class="{kind}" points="{self._at(xs[piece], ys[piece])}"/>')

    def band(self, x: Sequence[float], y: Sequence[float], kind: str) -> None:
        """Fill from the axis up to y."""
        xs, ys = np.asarray(x, float), np.nan_to_num(np.asarray(y, float))
        around = self._at(np.concatenate([xs, xs[::-1]]), np.concatenate([ys, np.full_like(ys, self._y.low)]))
        self._shapes.append(f'<polygon class="{kind}" points="{around}"/>')

    def limit(self, value: float, text: str, *, vertical: bool) -> None:
        """Draw a bar that must not be crossed."""
        low, high = (self._y.low, self._y.high) if vertical else (self._x.low, self._x.high)
        ends = np.array([low, high], float)
        same = np.array([value, value], float)
        points = self._at(same, ends) if vertical else self._at(ends, same)
        x, y = points.split()[1].split(",")
        shift = 'dx="-4" dy="10" text-anchor="end"' if vertical else 'dx="-4" dy="-5" text-anchor="end"'
        self._shapes.append(f'<polyline class="limit" points="{points}"/>')
        self._shapes.append(f'<text class="limit" x="{x}" y="{y}" {shift}>{text}</text>')

    def svg(self) -> str:
        """Return the chart."""
        grid = []
        for tick in self._y.ticks():
            points = self._at(np.array([self._x.low, self._x.high]), np.array([tick, tick]))
            y = points.split()[0].split(",")[1]
            grid.append(f'<polyline class="grid" points="{points}"/>')
            grid.append(f'<text x="{_LEFT - 8}" y="{y}" dy="4" text-anchor="end">{tick:g}</text>')
        for tick in self._x.ticks():
            x = self._at(np.array([tick]), np.array([self._y.low])).split(",")[0]
            grid.append(f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:g}</text>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        grid.append(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{self._x.label}</text>')
        label = f'transform="translate(13 {(_HEIGHT - _BOTTOM + _TOP) / 2}) rotate(-90)" text-anchor="middle"'
        grid.append(f"<text {label}>{self._y.label}</text>")
        return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(grid + self._shapes)}</svg>'
