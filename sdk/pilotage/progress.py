"""A progress bar with a rate and the time left, for terminals; a line every ten seconds where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")


class Progress:
    """Counts work and says how fast it goes. `with Progress("encode", 640, unit="tile") as bar: bar.add(64)`."""

    def __init__(
        self,
        label: str,
        total: int,
        *,
        unit: str = "it",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label, self._total, self._unit = label, max(total, 1), unit
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._start = self._shown = clock()
        self._done = 0

    def add(self, count: int = 1) -> None:
        """Note that `count` more are done."""
        self._done += count
        now = self._clock()
        if now - self._shown >= (0.1 if self._terminal else 10.0):
            self._shown = now
            self._show(now)

    def _show(self, now: float) -> None:
        rate = self._done / max(now - self._start, 1e-6)
        left_s = (self._total - self._done) / max(rate, 1e-9)
        share = min(self._done / self._total, 1.0)
        filled = int(share * 24)
        bar = "█" * filled + "·" * (24 - filled)
        text = f"{self._label:<18} {bar} {share:4.0%} {self._done}/{self._total} {rate:.1f} {self._unit}/s"
        if self._done >= self._total:
            text += f", took {now - self._start:.1f} s"
        elif self._done:
            text += f", {left_s:.0f} s left"
        self._stream.write(f"\r{text:<100}" if self._terminal else text + "\n")
        self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._show(self._clock())
        if self._terminal:
            self._stream.write("\n")


def track(items: Iterable[T], label: str, total: int, *, unit: str = "it") -> Iterator[T]:
    """Yield the items and show how far along they are."""
    with Progress(label, total, unit=unit) as bar:
        for item in items:
            yield item
            bar.add()
