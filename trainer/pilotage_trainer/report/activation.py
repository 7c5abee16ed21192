"""Heat maps: how much every position of a view adds to the cosine with its partner.

Activation times gradient, summed over the channels: for descriptors that are linear in the feature map (GAP, FRM, up to
the last normalisation) that is each position's own share of the score. What counts against the match is left dark.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pilotage.values import Rgb
from pilotage_trainer.data.views import View, unpolar
from pilotage_trainer.models.encoder import Encoder, unit

_UNROLLED_PX = 256


def heat(encoder: Encoder, pixels: Tensor, partner: Tensor) -> NDArray[np.float32]:
    """Return (h, w) from 0 to 1 for one picture, (1, 3, H, W), and the descriptor (D,) it should be like."""
    was = encoder.training
    encoder.eval()
    with torch.enable_grad():
        features = encoder.features(pixels).detach().requires_grad_()
        score = (unit(encoder.aggregate(features))[0] * partner.to(pixels.device)).sum()
        (gradient,) = torch.autograd.grad(score, features)
    encoder.train(was)
    share = (features * gradient).sum(dim=1)[0].clamp(min=0).detach().float().cpu().numpy()
    return np.asarray(share / max(float(share.max()), 1e-12), np.float32)


def overlay(picture: Rgb, warmth: NDArray[np.float32], view: View) -> Rgb:
    """Lay the heat over the picture that the network saw; a polar strip is rolled back into its square."""
    size = (picture.shape[1], picture.shape[0])
    smooth = np.clip(cv2.resize(warmth, size, interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap((255 * smooth).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    mixed = (0.45 * picture + 0.55 * colours).astype(np.uint8)
    return np.asarray(unpolar(mixed, _UNROLLED_PX), np.uint8) if view.polar else mixed
