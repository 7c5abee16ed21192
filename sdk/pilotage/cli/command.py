"""What a command is: a name, a summary, how to fill its parser, and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

EXIT_CODES = (
    "exit codes: 0 done; 1 a missing optional dependency (the message is the pip line); 2 refused, one line says why"
)


@dataclass(frozen=True, slots=True)
class Command:
    """One verb of the `pilotage` command line. `configure` sets the epilog with at least one example."""

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
