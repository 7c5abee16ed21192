"""What training costs beside the network itself: reading, augmenting, mining.

The bare loop runs forward, loss, backward and step on one batch again and again; the whole step is the trainer's, with
its loader. Both in one process, in turns, medians over rounds. The neighbour search of DSS is run at a data set's real
size in a process of its own, whose peak memory is read from the system.
Example: .venv-dev/bin/python benchmarks/training.py --json benchmarks/results/training.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SEARCH = """
import resource, time, numpy as np, torch
from pilotage_trainer.sampling import most_similar
count = {count}
rows = torch.nn.functional.normalize(torch.randn(count, 512), dim=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.monotonic()
most_similar(rows, rows, np.arange(count), 128)
print(time.monotonic() - began, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


def step_against_bare(recipe_name: str, changes: list[str], cache: Path, rounds: int, workers: int) -> dict:
    """Return pairs a second of the trainer and of the bare loop, and the median of their ratio."""
    import torch

    from pilotage_trainer import train
    from pilotage_trainer.data.kinds import Where
    from pilotage_trainer.feeds import open_feed
    from pilotage_trainer.ranks import Ranks
    from pilotage_trainer.recipe import recipe

    torch.set_num_threads(1)  # the other core is the loader's
    of = recipe(recipe_name, changes)
    with tempfile.TemporaryDirectory() as out:
        config = train.RunConfig(Path(out), cache, workers=workers, device="cpu")
        feed = open_feed(of, Where(None, cache), Ranks())
        trainer = train.Trainer(of, feed, config)
        steps, epoch = 12, feed.epoch(0, trainer.embed)
        rows = [i % len(epoch) for i in range(4 + steps * (rounds + 1))]
        batches = iter(train._loader(epoch, rows, config))
        kept = next(batches)
        query, aerial = trainer.normalise(kept.query), trainer.normalise(kept.aerial)

        def bare() -> None:
            trainer.model.train()
            with trainer.autocast():
                rows = trainer.model(query, aerial)
            loss = trainer.loss(rows[0].float(), rows[1].float(), None)
            trainer.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            trainer.optimiser.step()

        def whole() -> None:
            trainer.step(next(batches), 0.5)

        for _ in range(3):
            bare()
            whole()
        seconds: dict[str, list[float]] = {"bare": [], "whole": []}
        for _ in range(rounds):
            for name, work in (("bare", bare), ("whole", whole)):
                began = time.perf_counter()
                for _ in range(steps):
                    work()
                seconds[name].append((time.perf_counter() - began) / steps)
    ratio = np.array(seconds["bare"]) / np.array(seconds["whole"])
    return {
        "recipe": recipe_name,
        "changes": changes,
        "workers": workers,
        "bare_pairs_per_s": round(of.train.batch / float(np.median(seconds["bare"])), 1),
        "whole_pairs_per_s": round(of.train.batch / float(np.median(seconds["whole"])), 1),
        "whole_over_bare": round(float(np.median(ratio)), 3),
        "spread": [round(float(v), 3) for v in np.quantile(ratio, [0.25, 0.75])],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "pilotage", help="rendered worlds")
    parser.add_argument("--rounds", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--search", type=int, default=90_000, help="descriptors to search (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()
    short = ["data.options.train_seeds=[1000,1001]", "train.epochs=1"]
    rows = [
        step_against_bare("frgeo-world", short, arguments.cache, arguments.rounds, 0),
        step_against_bare("frgeo-world", [*short, "augment.light=0.5"], arguments.cache, arguments.rounds, 1),
    ]
    found = subprocess.run(
        [sys.executable, "-c", SEARCH.format(count=arguments.search)], capture_output=True, text=True, check=True
    )
    took_s, gib = (float(v) for v in found.stdout.split())
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "steps": rows,
        "dss_search": {
            "descriptors": arguments.search,
            "seconds": round(took_s, 1),
            "gib_above_the_descriptors": round(gib, 2),
        },
        "peak_rss_gib_here": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    print(json.dumps(report, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
