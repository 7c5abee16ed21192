"""The papers' ablations on work that everyone can repeat: small networks on the synthetic ground-to-aerial world.

Every variant is a recipe with changes; every variant is trained from several seeds, and each claim of a paper is held
against the paired differences. What is trained already is not trained again: a run that was cut goes on.
Example: .venv-dev/bin/python benchmarks/ablations.py --out runs/ablations --json benchmarks/results/ablations.json
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pilotage.progress import Progress

FRGEO, S4G, MSFA, SAIG = "frgeo-world", "sample4geo-world", "msfa-world", "saig-world"
GAP = ("model.name=gap", "model.options.width=0")
WSM, WBL = ("loss.name=soft-margin",), ("loss.name=wbl",)
B32 = ("train.batch=32", "train.lr=3e-3")
WIDE = ("model.options.width=0",)  # 4 x 128 = 512 numbers from the miniature backbone; the paper's 3072 are 4 x 768
MINED = ("cross_batch.start_epoch=3", "cross_batch.batches=180")  # nearly an epoch, as M = 1000 is of CVUSA

# a second run of six epochs from the weights of the plain one
BEGUN = ("model.start_from={out}/info-nce-s{seed}/sample4geo-world.pt", "train.epochs=6", "train.validate_epochs=6",
         "train.lr=1e-3")  # fmt: skip

# name: recipe and its changes
VARIANTS: dict[str, tuple[str, ...]] = {
    "gap + soft margin": (FRGEO, *GAP, *WSM, *B32),
    "frm + soft margin": (FRGEO, *WIDE, *WSM, *B32),
    "gap + wbl": (FRGEO, *GAP, *WBL, *B32),
    "frm + wbl": (FRGEO, *WIDE, *WBL, *B32),
    "compact": (FRGEO, "model.options.width=21", *WBL, *B32),  # 84 of 512, as 512 of 3072
    "few-shot 20 %": (FRGEO, *WIDE, *WBL, *B32, "data.share=0.2", "train.epochs=40", "train.validate_epochs=40"),
    "hardest triplet": (S4G, "loss.name=triplet-hard"),
    "soft-margin triplet": (S4G, *WSM),
    "info-nce": (S4G,),
    "info-nce street to sat": (S4G, "loss.options.direction=query-to-aerial"),
    "info-nce sat to street": (S4G, "loss.options.direction=aerial-to-query"),
    "gps": (S4G, "sampler.name=gps"),
    "dss": (S4G, "sampler.name=dss"),
    "gps + dss": (S4G, "sampler.name=gps+dss"),
    "gps + dss, k = K": (S4G, "sampler.name=gps+dss", "sampler.pick=64"),
    "msfa": (MSFA,),
    "xbm-hard": (MSFA, "cross_batch.name=xbm-hard", *MINED),
    # half of each batch are hard partners: an epoch that shows every id has twice the steps
    "global mining": (MSFA, "sampler.name=global", "sampler.top=20", "train.epochs=4.5"),
    "docb": (MSFA, "cross_batch.name=docb", *MINED),
    "single scale, single head": (MSFA, "model.options.taps=1", "model.options.heads=1", "model.options.fusion=none"),
    "multi-scale, single head": (MSFA, "model.options.heads=1"),
    "single scale, parallel": (MSFA, "model.options.taps=1"),
    "fused by concatenation": (MSFA, "model.options.fusion=concatenate"),
    "fused by attention and summation": (MSFA, "model.options.fusion=attention-sum"),
    "saig + gap": (SAIG, "model.name=saig-s-gap", "model.options.width=96", "model.options.attention_heads=3",
                   "model.options.layers=4"),
    "saig + smd": (SAIG,),
    "saig + smd + asam": (SAIG, "train.asam_rho=2.0"),
    # why ASAM may lose: 1,600 steps are few for so wide a climb
    "saig + smd + asam, narrow": (SAIG, "train.asam_rho=0.25"),
    # why hard negatives may not help: these networks are not pretrained
    "random, begun": (S4G, *BEGUN),
    "dss, begun": (S4G, *BEGUN, "sampler.name=dss", "sampler.refresh_epochs=1"),
    "gps + dss, begun": (S4G, *BEGUN, "sampler.name=gps+dss", "sampler.refresh_epochs=1"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """A paper says that `better` beats `worse`; their figures in points of R@1 where it gives them."""

    paper: str
    says: str
    better: str
    worse: str
    figures: str


CLAIMS = (
    Claim("FRGeo", "FRM over GAP", "frm + soft margin", "gap + soft margin", "96.70 over 94.10, CVUSA"),
    Claim("FRGeo", "WBL over weighted soft margin", "gap + wbl", "gap + soft margin", "95.27 over 94.10, CVUSA"),
    Claim("FRGeo", "both over FRM alone", "frm + wbl", "frm + soft margin", "97.06 over 96.70, CVUSA"),
    Claim("FRGeo", "both over WBL alone", "frm + wbl", "gap + wbl", "97.06 over 95.27, CVUSA"),
    Claim("Sample4Geo", "soft margin over the hardest-only triplet",
          "soft-margin triplet", "hardest triplet", "91.83 over 0.00, CVUSA"),
    Claim("Sample4Geo", "InfoNCE over soft margin", "info-nce", "soft-margin triplet", "98.68 over 91.83, CVUSA"),
    Claim("Sample4Geo", "symmetric over street to sat",
          "info-nce", "info-nce street to sat", "77.86 over 77.49, VIGOR"),
    Claim("Sample4Geo", "street to sat over sat to street",
          "info-nce street to sat", "info-nce sat to street", "77.49 over 74.69, VIGOR"),
    Claim("Sample4Geo", "DSS over random", "dss", "info-nce", "71.04 over 60.57, CVACT test"),
    Claim("Sample4Geo", "GPS over random", "gps", "info-nce", "71.13 over 60.57, CVACT test"),
    Claim("Sample4Geo", "GPS + DSS over random", "gps + dss", "info-nce", "71.51 over 60.57, CVACT test"),
    Claim("Sample4Geo", "k = K/2 over k = K", "gps + dss", "gps + dss, k = K", "77.86 over 77.84, VIGOR"),
    Claim("DOCB", "DOCB over in-batch only", "docb", "msfa", "95.78 over 94.38, CVUSA"),
    Claim("DOCB", "DOCB over XBM-hard", "docb", "xbm-hard", "95.78 over 94.90, CVUSA"),
    Claim("DOCB", "DOCB over global mining", "docb", "global mining", "95.78 over 94.74, CVUSA"),
    Claim("MSFA", "multi-scale over single",
          "multi-scale, single head", "single scale, single head", "94.02 over 93.29, CVUSA"),
    Claim("MSFA", "parallel over single",
          "single scale, parallel", "single scale, single head", "93.81 over 93.29, CVUSA"),
    Claim("MSFA", "both over multi-scale alone", "msfa", "multi-scale, single head", "94.38 over 94.02, CVUSA"),
    Claim("MSFA", "summation over concatenation", "msfa", "fused by concatenation", "94.38 over 93.82, CVUSA"),
    Claim("MSFA", "summation over attention + summation",
          "msfa", "fused by attention and summation", "94.38 over 94.12, CVUSA"),
    Claim("SAIG", "SMD over GAP", "saig + smd", "saig + gap", "91.77 over 88.82, CVUSA"),
    Claim("SAIG", "ASAM over plain AdamW", "saig + smd + asam", "saig + smd", "95.37 over 91.77, CVUSA"),
    Claim("Sample4Geo", "DSS over random, network begun",
          "dss, begun", "random, begun", "71.04 over 60.57, CVACT test"),
    Claim("Sample4Geo", "GPS + DSS over random, network begun",
          "gps + dss, begun", "random, begun", "71.51 over 60.57, CVACT test"),
    Claim("SAIG", "ASAM, radius 0.25, over plain AdamW",
          "saig + smd + asam, narrow", "saig + smd", "95.37 over 91.77, CVUSA"),
    Claim("ours", "full descriptor over one a sixth as long", "frm + wbl", "compact", "no paper's figure"),
    Claim("ours", "all ids over 20 % of them, at equal steps", "frm + wbl", "few-shot 20 %", "no paper's figure"),
)  # fmt: skip


def train_one(name: str, seed: int, epochs: float, out: Path, cache: Path) -> dict[str, float]:
    """Train one variant from one seed, unless that is done; return what it measured."""
    import cv2
    import torch

    from pilotage_trainer import train
    from pilotage_trainer.recipe import recipe

    folder = out / f"{name.replace(' ', '-').replace('%', 'percent').replace('/', '-')}-s{seed}"
    done = folder / "result.json"
    if not done.is_file():
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        base, *changes = (part.format(out=out, seed=seed) for part in VARIANTS[name])
        scale = epochs / 8
        of = recipe(base, [*changes, f"train.seed={seed}"])
        of = recipe(base, [*changes, f"train.seed={seed}", f"train.epochs={of.train.epochs * scale}"])
        with open(os.devnull, "w") as nowhere, _silent(nowhere):
            train.run(of, train.RunConfig(out=folder, cache=cache, threads=1, quiet=True, device="cpu"))
        last = json.loads((folder / "validation.jsonl").read_text().splitlines()[-1])
        log = (folder / "log.csv").read_text().splitlines()
        last["seconds"] = float(log[-1].split(",")[-1])
        last["loss"] = float(log[-1].split(",")[2])
        done.write_text(json.dumps(last))
    return dict(json.loads(done.read_text()))


class _silent:
    """Bars of two dozen runs at once help nobody."""

    def __init__(self, stream) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        import sys

        self._before = sys.stderr, sys.stdout
        sys.stderr = sys.stdout = self._stream

    def __exit__(self, *_: object) -> None:
        import sys

        sys.stderr, sys.stdout = self._before


def verdict(better: list[float], worse: list[float]) -> tuple[str, float, float]:
    """Return what the paired differences say: their mean and the standard error of it, in points."""
    differences = 100 * (np.array(better) - np.array(worse))
    mean = float(differences.mean())
    error = float(differences.std(ddof=1) / math.sqrt(len(differences))) if len(differences) > 1 else math.inf
    if abs(mean) <= 2 * error:
        return "within noise", mean, error
    return ("same" if mean > 0 else "opposite"), mean, error


def summary(results: dict[str, list[dict[str, float]]], seeds: list[int], epochs: float) -> dict:
    """Return what is committed."""
    variants = {}
    for name, rows in results.items():
        r1 = np.array([row["recall_at_1"] for row in rows])
        variants[name] = {
            "recipe": VARIANTS[name][0],
            "changes": list(VARIANTS[name][1:]),
            "recall_at_1": [round(float(v), 4) for v in r1],
            "mean": round(float(r1.mean()), 4),
            "spread": round(float(r1.std(ddof=1)), 4) if len(r1) > 1 else None,
            "steps": rows[0]["step"],
            "seconds": round(float(np.mean([row["seconds"] for row in rows])), 1),
        }
    claims = []
    for claim in CLAIMS:
        if claim.better not in results or claim.worse not in results:
            continue
        pair = [[row["recall_at_1"] for row in results[side]] for side in (claim.better, claim.worse)]
        word, mean, error = verdict(*pair)
        claims.append(
            {
                "paper": claim.paper,
                "claim": claim.says,
                "figures": claim.figures,
                "better": claim.better,
                "worse": claim.worse,
                "ours": [round(100 * float(np.mean(side)), 1) for side in pair],
                "difference_points": round(mean, 2),
                "standard_error": None if math.isinf(error) else round(error, 2),
                "direction": word,
            }
        )
    return {"seeds": seeds, "epochs": epochs, "variants": variants, "claims": claims}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="runs (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "pilotage", help="rendered worlds")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="(default: 1 2 3)")
    parser.add_argument("--epochs", type=float, default=8, help="of 6400 pairs (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="VARIANT", help="some variants")
    arguments = parser.parse_args()
    names = arguments.only or list(VARIANTS)
    work = [(name, seed) for seed in arguments.seeds for name in names]
    results: dict[tuple[str, int], dict[str, float]] = {}
    began = time.monotonic()
    waves = [[w for w in work if (BEGUN[0] in VARIANTS[w[0]]) is later] for later in (False, True)]
    pool = ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn"))
    with pool, Progress("ablations", len(work), unit="run") as bar:
        for wave in waves:
            jobs = {
                pool.submit(train_one, name, seed, arguments.epochs, arguments.out, arguments.cache): (name, seed)
                for name, seed in wave
            }
            for job in as_completed(jobs):
                name, seed = jobs[job]
                results[name, seed] = job.result()
                print(f"{name}, seed {seed}: R@1 {results[name, seed]['recall_at_1']:.1%}", flush=True)
                bar.add()
    rows = {name: [results[name, seed] for seed in arguments.seeds] for name in names}
    report = summary(rows, arguments.seeds, arguments.epochs)
    report["minutes"] = round((time.monotonic() - began) / 60, 1)
    for claim in report["claims"]:
        ours = " over ".join(f"{v:.1f}" for v in claim["ours"])
        print(f"{claim['paper']:<11} {claim['claim']:<44} {claim['figures']:<30} {ours:<16} {claim['direction']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
