"""Optimisation: ASAM's formula, the learning rate at known places, the average."""

import math

import pytest
import torch
from torch import nn

from pilotage_trainer.losses import InfoNce
from pilotage_trainer.optim import Asam, Average, adamw, rate
from pilotage_trainer.recipe import TrainConfig


def test_asam_climbs_by_the_papers_step_and_comes_back_exactly():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    model(torch.randn(3, 5)).square().sum().backward()
    before = [p.detach().clone() for p in model.parameters()]
    gradients = [p.grad.clone() for p in model.parameters()]
    length = math.sqrt(sum(float(((w.abs() * g) ** 2).sum()) for w, g in zip(before, gradients, strict=True)))
    asam = Asam(model.parameters(), rho=2.0)
    asam.climb()
    for p, w, g in zip(model.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(p.detach(), w + 2.0 * w * w * g / (length + 1e-12))
    asam.back()
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), before, strict=True))


def test_the_rate_warms_up_and_comes_down():
    config = TrainConfig(lr=1.0, epochs=11, warm_up_epochs=1, floor=0.1)
    assert rate(config, 0.0) == pytest.approx(1e-3) and rate(config, 0.5) == pytest.approx(0.5)
    assert (
        rate(config, 1.0) == 1.0
        and rate(config, 6.0) == pytest.approx(0.55)
        and rate(config, 11.0) == pytest.approx(0.1)
    )
    assert rate(config, 99.0) == pytest.approx(0.1)


def test_the_rate_of_an_epoch_stays_for_the_epoch():
    config = TrainConfig(lr=1.0, epochs=4, schedule="cosine-epoch")
    assert rate(config, 1.0) == rate(config, 1.99) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_biases_norms_and_the_temperature_are_not_decayed():
    model, loss = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), InfoNce()
    decayed, others = adamw(model, loss, TrainConfig(weight_decay=0.3)).param_groups
    assert decayed["weight_decay"] == 0.3 and [p.ndim for p in decayed["params"]] == [2]
    assert others["weight_decay"] == 0.0 and any(p is loss.log_scale for p in others["params"])
    fixed = adamw(model, InfoNce(temperature=0.1), TrainConfig())
    assert sum(len(group["params"]) for group in fixed.param_groups) == 4


def test_the_average_follows_its_formula():
    model = nn.Linear(2, 2)
    average = Average(model, 0.9)
    expected = model.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            model.weight.add_(0.1)
        average.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(average.state["weight"], expected)
