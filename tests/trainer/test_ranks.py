"""Two processes and one batch: the loss and the gradients of a single process."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from pilotage_trainer import checkpoint

STEP = """
import sys, torch
from pathlib import Path
from pilotage_trainer import feeds, train
from pilotage_trainer.data.kinds import Where
from pilotage_trainer.ranks import Ranks
from pilotage_trainer.recipe import recipe
out, cache, *changes = sys.argv[1:]
torch.set_num_threads(1)
config = train.RunConfig(Path(out), Path(cache), device="cpu", threads=1)
of = recipe("frgeo-world", changes)
ranks = Ranks.join(torch.device("cpu"))
trainer = train.Trainer(of, feeds.open_feed(of, Where(None, Path(cache)), ranks), config, ranks)
trainer.epoch = 1
losses = []
for i in range(2):
    batch = trainer.feed.epoch(1, trainer.embed)[i]
    losses.append(trainer.step(batch, 1.0)[0])
torch.save({"losses": losses, "rows": len(batch.query), "samples": torch.from_numpy(batch.samples),
            "grads": {k: p.grad for k, p in trainer.model.named_parameters()},
            "scale": getattr(trainer.loss, "log_scale", torch.zeros(1)).grad,
            "weights": trainer.model.state_dict()}, f"{out}-{ranks.rank}.pt")
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(code, arguments, count):
    """Run a script as `count` ranks and wait for all."""
    port, running = free_port(), []
    for rank in range(count):
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        if count > 1:
            env |= {"WORLD_SIZE": str(count), "RANK": str(rank), "LOCAL_RANK": str(rank)}
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
        running.append(
            subprocess.Popen([sys.executable, *code, *arguments], env=env, stderr=subprocess.PIPE, text=True)
        )
    for process in running:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        ("loss.name=info-nce", "sampler.name=dss", "sampler.near=8", "sampler.pick=4", "sampler.refresh_epochs=1"),
        (
            "loss.name=wbl",
            "cross_batch.name=docb",
            "cross_batch.batches=4",
            "train.asam_rho=0.5",
            "train.clip_norm=1.0",
        ),
    ],
)
def test_two_processes_step_as_one(tiny, tmp_path, world_cache, changes):
    of = tiny(*changes)
    whole = [
        f"{section}.{key}={json.dumps(value)}"
        for section, values in of.to_dict().items()
        for key, value in (values.items() if isinstance(values, dict) else ())
        if not isinstance(value, dict)
    ]
    whole += [f"data.options.{key}={json.dumps(value)}" for key, value in of.data.options.items()]
    for name, count in (("one", 1), ("two", 2)):
        start(["-c", STEP], [str(tmp_path / name), str(world_cache), *whole], count)
    one = torch.load(tmp_path / "one-0.pt")
    parts = [torch.load(tmp_path / f"two-{rank}.pt") for rank in range(2)]
    assert [one["rows"], *(p["rows"] for p in parts)] == [10, 5, 5]
    for part in parts:
        assert torch.equal(part["samples"], one["samples"])
        np.testing.assert_allclose(part["losses"], one["losses"], rtol=1e-5)
        for key, gradient in one["grads"].items():
            torch.testing.assert_close(part["grads"][key], gradient, rtol=2e-3, atol=2e-6)
        if one["scale"] is not None:
            torch.testing.assert_close(part["scale"], one["scale"], rtol=1e-4, atol=1e-7)
    for key in parts[0]["weights"]:
        assert torch.equal(parts[0]["weights"][key], parts[1]["weights"][key])


@pytest.mark.slow
def test_a_run_of_two_writes_one_log_and_one_checkpoint(tmp_path, world_cache):
    changes = ["data.options.train_seeds=[1000]", "data.options.val_seeds=[2000]", "data.options.places=40"]
    changes += ["data.options.world_size_m=300.0", "train.epochs=1", "train.batch=10", "train.amp=off"]
    out = tmp_path / "run"
    arguments = ["run", "frgeo-world", *changes, "--out", str(out), "--cache", str(world_cache), "--device", "cpu"]
    start(["-m", "pilotage_trainer.cli"], arguments, 2)
    assert len((out / "log.csv").read_text().splitlines()) == 5
    assert len((out / "validation.jsonl").read_text().splitlines()) == 1
    assert checkpoint.load(out / "frgeo-world.pt")["steps"] == 4
