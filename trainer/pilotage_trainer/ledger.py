"""What a run says of itself: log.csv and validation.jsonl for machines, TensorBoard, a bar for whoever watches."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pilotage.progress import Progress
from pilotage_trainer.data.feed import Batch

if TYPE_CHECKING:
    from pilotage_trainer.trainer import Trainer

COLUMNS = ("step", "epoch", "loss", "lr", "scale", "gradient_norm", "pairs_per_s", "waited", "seconds")


class Ledger:
    """The log of one run. Rows after the checkpoint that a run resumes from are dropped: they will be written again."""

    def __init__(self, out: Path, steps: int, *, epoch: int = 0, writes: bool = True, quiet: bool = False) -> None:
        self._writes, self._quiet = writes, quiet
        self._log: TextIO | None = None
        self._validation: TextIO | None = None
        self._board: Any = None
        if writes:
            self._log = _open_with(out / "log.csv", lambda line: _row_stands(line, steps), resumes=steps > 0)
            # a checkpoint at the last step of an epoch is older than that epoch's validation, of the same step
            self._validation = _open_with(
                out / "validation.jsonl", lambda line: _validation_stands(line, steps, epoch), resumes=steps > 0
            )
            self._rows = csv.writer(self._log, lineterminator="\n")
            if self._log.tell() == 0:
                self._rows.writerow(COLUMNS)
            if find_spec("tensorboard") is not None:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(out / "tensorboard"), purge_step=steps + 1 if steps else None)
        self._bar: Progress | None = None
        self._waited_s = 0.0
        self._last_s = self._saved_s = time.monotonic()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()
        for stream in (self._log, self._validation, self._board):
            if stream is not None:
                stream.close()

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.__exit__()
            self._bar = None

    def epoch(self, epoch: int, steps: int, epochs: float) -> None:
        """Begin an epoch."""
        self._end_bar()
        if self._writes and not self._quiet:
            self._bar = Progress(f"epoch {epoch + 1}/{epochs:g}", steps, unit="step", stream=sys.stdout)
        self._last_s = time.monotonic()

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, and note how long the network waited for each."""
        asked = time.monotonic()
        for batch in batches:
            self._waited_s = time.monotonic() - asked
            yield batch
            asked = time.monotonic()

    def step(self, trainer: Trainer, loss: float, norm: float, pairs: int) -> float:
        """Note a step; return the seconds it took."""
        now = time.monotonic()
        took, self._last_s = now - self._last_s, now
        if self._writes:
            scale = getattr(trainer.loss, "scale", None)
            lr = trainer.optimiser.param_groups[0]["lr"]
            row = {
                "step": trainer.steps,
                "epoch": trainer.epoch,
                "loss": repr(loss),
                "lr": repr(lr),
                "scale": "" if scale is None else round(float(scale.detach()), 4),
                "gradient_norm": round(norm, 5),
                "pairs_per_s": round(pairs / max(took, 1e-6), 1),
                "waited": round(min(self._waited_s / max(took, 1e-6), 1.0), 3),
                "seconds": round(trainer.spent_s + took, 3),
            }
            self._rows.writerow(row.values())
            self._to_board(trainer.steps, {"loss": loss, "lr": lr, "gradient_norm": norm})
        if self._bar is not None:
            self._bar.add()
        return took

    def _to_board(self, step: int, values: dict[str, float]) -> None:
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(key, value, step)

    def validation(self, trainer: Trainer, part: str, result: dict[str, float]) -> None:
        """Note how well a held-out part is found."""
        self._end_bar()
        if self._validation is not None:
            line = {"step": trainer.steps, "epoch": trainer.epoch, "part": part, **result}
            self._validation.write(json.dumps(line) + "\n")
            self._to_board(trainer.steps, {f"{part}/{key}": value for key, value in result.items()})
            if not self._quiet:
                shown = ", ".join(f"{k} {v:.4g}" for k, v in result.items())
                print(f"epoch {trainer.epoch}, step {trainer.steps}, {part}: {shown}", flush=True)
        self._last_s = time.monotonic()  # validation is not training time

    def flush(self) -> None:
        """Write what is noted: a checkpoint never stands behind its log."""
        for stream in (self._log, self._validation):
            if stream is not None:
                stream.flush()
                os.fsync(stream.fileno())

    def saved(self) -> None:
        """Note that a checkpoint was written."""
        self._saved_s = time.monotonic()

    @property
    def since_saved_s(self) -> float:
        """Seconds since the last checkpoint."""
        return time.monotonic() - self._saved_s


def _open_with(path: Path, stands: Callable[[str], bool], *, resumes: bool) -> TextIO:
    """Open a log to go on with the lines that stand; what a cut run left half written does not."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if resumes and path.is_file() else []
    part = path.with_name(path.name + ".part")
    part.write_text("".join(f"{line}\n" for line in lines if stands(line)), encoding="utf-8", newline="")
    part.replace(path)  # whole: a run that is cut while it starts keeps its log
    return path.open("a", encoding="utf-8", newline="")


def _row_stands(line: str, steps: int) -> bool:
    values = line.split(",")
    step = values[0]
    return len(values) == len(COLUMNS) and (step == COLUMNS[0] or (step.isdigit() and int(step) <= steps))


def _validation_stands(line: str, steps: int, epoch: int) -> bool:
    try:
        values = json.loads(line)
    except ValueError:
        return False
    return bool(values["step"] <= steps and values["epoch"] <= epoch)
