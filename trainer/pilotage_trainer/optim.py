"""Optimisation: parameter groups, the learning rate over a run, adaptive sharpness-aware steps, the average."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pilotage_trainer.recipe import TrainConfig


def adamw(model: nn.Module, loss: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW; biases, norms and the loss's own scale are not decayed."""
    learnt = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in learnt if p.ndim > 1]
    others = [p for p in learnt if p.ndim <= 1] + [p for p in loss.parameters() if p.requires_grad]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, foreach=True)


def rate(config: TrainConfig, epoch: float) -> float:
    """Return the learning rate at a place in the run, counted in epochs."""
    if epoch < config.warm_up_epochs:
        return config.lr * max(epoch, 1e-3) / config.warm_up_epochs
    at = math.floor(epoch) if config.schedule == "cosine-epoch" else epoch
    span = max(config.epochs - config.warm_up_epochs, 1e-9)
    share = min(max(at - config.warm_up_epochs, 0.0) / span, 1.0)
    return config.lr * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * share)))


class Asam:
    """ASAM: climb to the worst of a neighbourhood whose size follows the weights, take the gradient there, come back.

    Every weight w moves by rho w^2 g / || |w| g ||, as SAIG and FRGeo train.
    """

    def __init__(self, parameters: Iterable[Tensor], *, rho: float) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self._rho = rho
        self._stood: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def climb(self) -> None:
        """Move to the perturbed weights, along the gradient at hand."""
        with_gradient = [(p, p.grad) for p in self._parameters if p.grad is not None]
        norms = [(p.abs() * gradient).norm() for p, gradient in with_gradient]
        scale = self._rho / (torch.stack(norms).norm() + 1e-12)
        self._stood = [(p, p.detach().clone()) for p, _ in with_gradient]
        for p, gradient in with_gradient:
            p.add_(p * p * gradient * scale)

    @torch.no_grad()
    def back(self) -> None:
        """Return exactly to where it stood, keeping the gradient found."""
        for p, stood in self._stood:
            p.copy_(stood)
        self._stood = []


class Average:
    """An exponential moving average of a network's state; early on it follows faster."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take the network after a step into the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)
