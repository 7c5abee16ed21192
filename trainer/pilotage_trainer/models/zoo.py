"""The table of models: what each is made of, and what its paper says of its size."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pilotage.errors import ModelError
from pilotage_trainer.models.encoder import Encoder, Size, TwoBranch
from pilotage_trainer.models.frgeo import FrGeo
from pilotage_trainer.models.gap import Gap
from pilotage_trainer.models.msfa import Msfa
from pilotage_trainer.models.safa import Safa
from pilotage_trainer.models.saig import Saig
from pilotage_trainer.models.sample4geo import Sample4Geo

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One line of the table. Sizes, parameters and multiply-accumulates are those of a CVUSA pair in the paper."""

    name: str
    encoder: Callable[..., Encoder]
    backbone: str
    descriptor: int
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    ground_px: Size = (128, 512)
    aerial_px: Size = (256, 256)
    polar: bool = False
    shared: bool = False
    statistics: tuple[Three, Three] = IMAGENET
    paper_params_m: float = 0.0  # both branches; 0: the paper says nothing
    paper_gmacs: float = 0.0


_FRGEO = "FRGeo, AAAI 2024"
_SAIG = "SAIG, arXiv 2302.01572"
_MSFA = "MSFA + DOCB, ISPRS IJGI 2025 (reconstruction: the paper's body does not give the insides)"


def _saig(layers: str, head: str, params_m: float, gmacs: float) -> ModelSpec:
    descriptor = 3072 if head == "smd" else 384
    return ModelSpec(
        f"{layers}-{head}", Saig, layers, descriptor, _SAIG, {"head": head}, statistics=HALF,
        paper_params_m=params_m, paper_gmacs=gmacs,
    )  # fmt: skip


_SPECS = (
    ModelSpec(
        "frgeo", FrGeo, "convnext_tiny.fb_in1k", 3072, _FRGEO, {"width": 0},
        paper_params_m=55.64, paper_gmacs=11.64,
    ),
    ModelSpec(
        "frgeo-512", FrGeo, "convnext_tiny.fb_in1k", 512, f"{_FRGEO}, made compact", {"width": 128},
        paper_params_m=55.84, paper_gmacs=11.64,
    ),
    ModelSpec(
        "msfa", Msfa, "vgg16.tv_in1k", 512, _MSFA, aerial_px=(128, 512), polar=True,
        paper_params_m=38.90, paper_gmacs=40.68,
    ),
    _saig("saig-s", "gap", 18.20, 8.81),
    _saig("saig-s", "smd", 19.26, 9.22),
    _saig("saig-d", "gap", 31.23, 13.24),
    _saig("saig-d", "smd", 32.28, 13.65),
    ModelSpec(
        "sample4geo", Sample4Geo, "convnext_base.fb_in22k_ft_in1k_384", 1024, "Sample4Geo, ICCV 2023",
        ground_px=(140, 768), aerial_px=(384, 384), shared=True, paper_params_m=87.57, paper_gmacs=75.6,
    ),
    ModelSpec(
        "safa", Safa, "vgg16.tv_in1k", 4096, "SAFA, NeurIPS 2019",
        ground_px=(112, 616), aerial_px=(112, 616), polar=True, paper_params_m=29.50, paper_gmacs=42.24,
    ),
    ModelSpec("gap", Gap, "convnext_tiny.fb_in1k", 768, f"the baseline of {_FRGEO}"),
)  # fmt: skip
MODELS = {spec.name: spec for spec in _SPECS}


def spec(name: str) -> ModelSpec:
    """Return a line of the table."""
    try:
        return MODELS[name]
    except KeyError:
        raise ModelError(f"unknown model {name!r}; known are {', '.join(MODELS)}") from None


def create(
    name: str,
    *,
    query_view: str = "ground",
    query_px: Size | None = None,
    aerial_px: Size | None = None,
    backbone: str | None = None,
    shared: bool | None = None,
    pretrained: bool = False,
    options: Mapping[str, Any] | None = None,
) -> TwoBranch:
    """Build both branches. What is not given is the paper's."""
    of = spec(name)
    query_px, aerial_px = query_px or of.ground_px, aerial_px or of.aerial_px
    shared = of.shared if shared is None else shared
    given = {**of.options, **(options or {})}
    takes = [
        p for p in inspect.signature(of.encoder).parameters if p not in ("backbone", "image_px", "layout", "pretrained")
    ]
    for key in given:
        if key not in takes:
            raise ModelError(f"model {name!r} has no option {key!r}; it has {', '.join(takes) or 'none'}")

    def branch(image_px: Size, layout: str) -> Encoder:
        more = {"layout": layout} if of.encoder is FrGeo else {}
        return of.encoder(backbone or of.backbone, image_px=image_px, pretrained=pretrained, **more, **given)

    query_layout = "strips" if query_view == "ground" else "quadrants"
    aerial_layout = "strips" if of.polar and query_view == "ground" else "quadrants"
    if not shared:
        return TwoBranch(branch(query_px, query_layout), branch(aerial_px, aerial_layout))
    if query_layout != aerial_layout and of.encoder is FrGeo:
        raise ModelError(
            "FRGeo cuts panoramas in strips and tiles in quadrants: for ground views its branches are separate"
        )
    if query_px != aerial_px and of.encoder in (Saig, Msfa, Safa):
        raise ModelError(f"{name} is made for one input size: shared weights need query_px and aerial_px alike")
    return TwoBranch(branch(query_px, query_layout), None)


def params_m(model: TwoBranch) -> float:
    """Return millions of parameters of both branches; shared ones count once."""
    return sum(p.numel() for p in model.parameters()) / 1e6


def gmacs(model: TwoBranch, query_px: Size, aerial_px: Size) -> float:
    """Return the billions of multiply-accumulates of one pair: convolutions, products, attention."""
    device = next(model.parameters()).device
    was = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, *query_px, device=device), torch.empty(1, 3, *aerial_px, device=device))
    model.train(was)
    return float(counter.get_total_flops()) / 2e9


def rows() -> list[dict[str, Any]]:
    """Return the table with what each model comes to, measured without computing: on tensors that hold nothing."""
    out = []
    for of in MODELS.values():
        with torch.device("meta"):
            model = create(of.name)
        out.append(
            {
                "name": of.name,
                "backbone": of.backbone,
                "params_m": round(params_m(model), 3),
                "gmacs": round(gmacs(model, of.ground_px, of.aerial_px), 3),
                "descriptor": model.descriptor,
                "ground_px": list(of.ground_px),
                "aerial_px": list(of.aerial_px),
                "polar": of.polar,
                "shared": model.shared,
                "paper_params_m": of.paper_params_m or None,
                "paper_gmacs": of.paper_gmacs or None,
                "source": of.source,
            }
        )
    return out


def describe_row(row: dict[str, Any]) -> str:
    """Return a line of the table of models for people."""
    size = f"{row['params_m']:6.2f} M {row['gmacs']:6.2f} G  {row['descriptor']:>4}-d"
    views = " / ".join("x".join(str(v) for v in row[side]) for side in ("ground_px", "aerial_px"))
    return f"{row['name']:<11} {size}  {views:<17} {row['source']}"
