"""Recipes: everything that makes a set of weights, read from a TOML file; an unknown key is an error.

A recipe may say `extends = "other"`: what it does not say is the other's. `key=value` on the command line goes on top.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pilotage.errors import ModelError
from pilotage_trainer.crossbatch import CrossBatchConfig
from pilotage_trainer.data.feed import AugmentConfig
from pilotage_trainer.sampling import SamplerConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOLDER = Path(__file__).parent / "recipes"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which network."""

    name: str = "frgeo-512"
    backbone: str = ""  # "": the paper's
    shared: bool | None = None  # not said: the paper's
    pretrained: bool = False  # timm's weights, from its cache or the network
    start_from: str = ""  # a checkpoint of the same model to begin with
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which data set, and which parts of it."""

    kind: str = "world"
    train: str = "train"
    validate: tuple[str, ...] = ("val",)
    share: float = 1.0  # few-shot: this share of the ids is trained on
    shrink: bool = True  # public data sets: keep pictures at the size the views need, in the cache
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ModelError(f"data.share is {self.share:g}: give more than 0, at most 1")


@dataclass(frozen=True, slots=True)
class ViewsConfig:
    """What the two branches see."""

    query: str = "ground"  # or "nadir"
    query_px: tuple[int, int] | None = None  # height, width; not said: the paper's
    aerial_px: tuple[int, int] | None = None
    aerial_polar: bool | None = None
    query_middle_half: bool = False
    turn_deg: float = 0.0
    fov_deg: float = 360.0
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    ground_size_m: tuple[float, float] = (0.0, 0.0)  # tile sizes that the weights are made for; 0: not known

    def __post_init__(self) -> None:
        if self.query not in ("ground", "nadir"):
            raise ModelError(f"views.query is {self.query!r}; known are ground and nadir")


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Which loss."""

    name: str = "info-nce"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How it is optimised."""

    batch: int = 32
    epochs: float = 40.0
    lr: float = 1e-3
    weight_decay: float = 0.01
    warm_up_epochs: float = 0.0
    schedule: str = "cosine"  # or "cosine-epoch": the rate stays for an epoch
    floor: float = 0.0  # share of the rate that the cosine ends at
    clip_norm: float = 0.0  # 0: off
    clip_value: float = 0.0
    amp: str = "off"  # or "bf16", "fp16"
    ema: float = 0.0  # 0: off
    asam_rho: float = 0.0  # 0: off; sharpness-aware steps of adaptive radius
    checkpoint_gradients: bool = False
    validate_epochs: int = 4
    seed: int = 1

    def __post_init__(self) -> None:
        if self.batch < 2 or self.epochs <= 0 or self.lr <= 0:
            raise ModelError(
                f"train.batch {self.batch}, epochs {self.epochs:g}, lr {self.lr:g}: give 2 or more, and above 0"
            )
        others = (
            "weight_decay",
            "warm_up_epochs",
            "floor",
            "clip_norm",
            "clip_value",
            "asam_rho",
            "validate_epochs",
            "seed",
        )
        for name in others:
            if not getattr(self, name) >= 0:
                raise ModelError(f"train.{name} is {getattr(self, name)}: give 0 or more")
        if not (math.isfinite(self.lr) and math.isfinite(self.epochs) and 0 <= self.ema < 1):
            raise ModelError(
                f"train.lr {self.lr:g}, epochs {self.epochs:g}, ema {self.ema:g}: finite, and 0 <= ema < 1"
            )
        if self.schedule not in ("cosine", "cosine-epoch") or self.amp not in ("off", "bf16", "fp16"):
            raise ModelError(
                f"train.schedule {self.schedule!r}, amp {self.amp!r}: cosine or cosine-epoch; off, bf16 or fp16"
            )
        if self.asam_rho > 0 and self.amp == "fp16":
            raise ModelError("train.asam_rho with amp fp16: the two passes need one scale; use bf16 or off")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is trained."""

    name: str
    source: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    cross_batch: CrossBatchConfig = field(default_factory=CrossBatchConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a checkpoint carries them."""
        return _plain(self)  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Read plain values; unknown keys are errors."""
        return _read(cls, values, where="")


def names() -> list[str]:
    """Return the recipes that come with the trainer."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return a recipe by name, or from a .toml file, with `section.key=value` changes on top."""
    values = _values(name, ())
    # options belong to a name, so names come first in whatever order they were given
    for text in sorted(
        overrides, key=lambda text: text.partition("=")[0].strip().endswith((".name", ".kind")) is False
    ):
        _override(values, text)
    return Recipe.from_dict(values)


def options_as(kind: type[T], options: Mapping[str, Any], where: str) -> T:
    """Return options as the config of what takes them; unknown keys are errors."""
    return _read(kind, options, where=f"{where}.")


def _values(name: str, above: tuple[str, ...]) -> dict[str, Any]:
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    here = str(path.resolve())
    if here in above:
        raise ModelError(f"recipe {name!r} extends itself: {' -> '.join([*above, here])}")
    if not path.is_file():
        near = difflib.get_close_matches(name, names(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(names())}"
        raise ModelError(f"unknown recipe {name!r}{hint}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a TOML file ({error})") from error
    base = values.pop("extends", None)
    if isinstance(base, str) and base.endswith(".toml"):
        base = str(path.parent / base)  # beside the file that names it, wherever it is read from
    merged = _values(str(base), (*above, here)) if base is not None else {}
    _merge(merged, values)
    merged["name"] = path.stem
    return merged


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Lay values over others. Options belong to a name: another model, loss or data set brings its own."""
    for key, value in values.items():
        if not isinstance(value, Mapping):
            into[key] = value
            continue
        section = into.setdefault(key, {})
        if not isinstance(section, dict):  # a section where a value belongs: reading it says so
            section = into[key] = {}
        for naming in ("name", "kind"):
            if naming in value and section.get(naming) != value[naming]:
                section.pop("options", None)
        _merge(section, value)


def _override(values: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals:
        raise ModelError(f"{text!r} is not of the form section.key=value, as in train.lr=3e-4")
    *sections, last = key.strip().split(".")
    change: Any = _literal(value.strip())
    for part in reversed([*sections, last]):
        change = {part: change}
    _merge(values, change)


def _literal(text: str) -> Any:
    """Read a value as TOML does; what is no TOML is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {key: _plain(v) for key, v in pairs if v is not None}
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value


def _read(kind: type[T], values: Mapping[str, Any], *, where: str) -> T:
    fields = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    given = {}
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {where}{near[0]}?" if near else f"known are {', '.join(sorted(fields))}"
            raise ModelError(f"recipe key {where}{key} is not known: {hint}")
        given[key] = value_as(hints[key], value, f"{where}{key}")
    return kind(**given)


def value_as(hint: Any, value: Any, where: str) -> Any:  # noqa: C901
    """Return one value as its type, or say what it should be; whole numbers pass for floats and lists for tuples."""
    if isinstance(hint, types.UnionType):
        *others, hint = (h for h in typing.get_args(hint) if h is not type(None))
        for other in others:
            with suppress(ModelError):
                return value_as(other, value, where)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ModelError(f"recipe key {where} is a section: write {where}.key=value")
        return _read(hint, value, where=f"{where}.")  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if isinstance(value, str) and arguments[0] is str:
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise ModelError(f"recipe key {where} is {value!r}: give a list")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ModelError(f"recipe key {where} is {value!r}: give {len(arguments)} values")
        return tuple(value_as(arguments[0], v, where) for v in value)
    if origin is not None:  # Mapping: options, checked by what takes them
        if not isinstance(value, Mapping):
            raise ModelError(f"recipe key {where} is {value!r}: write {where}.key=value")
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ModelError(f"recipe key {where} is {value!r}: give a {hint.__name__}")
    return value
