"""timm backbones as feature maps: CNNs as they are, transformers' tokens laid out on their grid."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from pilotage.errors import ModelError
from pilotage_trainer.models.encoder import Size
from pilotage_trainer.timm_on_cpu import create_model, is_model

_HEADS = ("head", "fc", "classifier", "fc_norm", "conv_head", "norm_head", "bn2", "pre_logits")


def trunk(name: str, *, image_px: Size, pretrained: bool = False, **options: Any) -> nn.Module:
    """Return a timm backbone without its classifier; no parameter is left that the feature map does not use."""
    extra: dict[str, Any] = {"num_classes": 0, "global_pool": "", "pretrained": pretrained, **options}
    try:  # networks with a fixed number of tokens must know the size
        model = _fetch(name, img_size=image_px, **extra)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        model = _fetch(name, **extra)
    for head in _HEADS:
        part = getattr(model, head, None)
        if isinstance(part, nn.Module) and not _used_by_features(model, head):
            setattr(model, head, nn.Identity())
    return model


def _fetch(name: str, **options: Any) -> nn.Module:
    """Return a timm model, its weights from the cache or the network if it is to be pretrained."""
    if not is_model(name.split(".", maxsplit=1)[0]):
        raise ModelError(f"backbone {name!r} is not in timm: `python -c 'import timm; print(timm.list_models())'`")
    try:
        return create_model(name, **options)
    except OSError as error:  # no network and nothing in the cache
        reason = str(error).splitlines()[0]
        hint = "model.pretrained=false trains from scratch"
        raise ModelError(f"the pretrained weights of {name} cannot be had ({reason}); {hint}") from error


def _used_by_features(model: nn.Module, part: str) -> bool:
    """Whether `forward_features` itself calls the part: its source names it."""
    forward: Any = type(model).forward_features  # type: ignore[attr-defined]
    return f"self.{part}(" in inspect.getsource(forward)


def token_map(model: nn.Module, pixels: Tensor) -> Tensor:
    """Return the last features as (N, C, h, w)."""
    out: Tensor = model.forward_features(pixels)  # type: ignore[operator]
    channels: int = model.num_features  # type: ignore[assignment]
    if out.ndim == 4:
        last = out.shape[-1] == channels and out.shape[1] != channels  # Swin and its kin keep channels last
        return out.permute(0, 3, 1, 2) if last else out
    tokens = out[:, getattr(model, "num_prefix_tokens", 0) :]
    patches: Any = model.patch_embed
    rows, columns = patches.grid_size
    return tokens.transpose(1, 2).reshape(len(tokens), channels, rows, columns)


class Pyramid(nn.Module):
    """Two maps, at `stride` and at half of it, of any backbone that timm can tap; VGG after its last two pools."""

    def __init__(self, name: str, *, stride: int = 32, pretrained: bool = False) -> None:
        super().__init__()
        self.vgg = name.startswith("vgg")
        self.body: nn.Module
        if self.vgg and stride != 32:
            raise ModelError(f"VGG is tapped at strides 16 and 32, not {stride}")
        if self.vgg:
            # the classifier alone would be 120 M parameters; the convolutions are all that is kept
            features = _fetch(name, pretrained=pretrained, num_classes=0).features
            pools = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]  # type: ignore[arg-type]
            self.fine = features[: pools[3] + 1]  # type: ignore[index]
            self.coarse = features[pools[3] + 1 :]  # type: ignore[index]
            self.channels = (512, 512)
        else:
            probe: Any = _fetch(name, features_only=True)
            strides = list(probe.feature_info.reduction())
            if stride not in strides or stride // 2 not in strides:
                raise ModelError(
                    f"backbone {name!r} has strides {strides}: it cannot be tapped at {stride // 2} and {stride}"
                )
            taps = (strides.index(stride // 2), strides.index(stride))
            self.body = _fetch(name, pretrained=pretrained, features_only=True, out_indices=taps)
            info: Any = self.body.feature_info
            self.channels = tuple(info.channels())

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the finer and the coarser map."""
        if self.vgg:
            fine: Tensor = self.fine(pixels)  # type: ignore[operator]
            return fine, self.coarse(fine)  # type: ignore[operator]
        maps: list[Tensor] = self.body(pixels)
        return maps[0], maps[1]
