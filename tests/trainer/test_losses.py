"""Every loss against a slow loop in float64, and its gradient against finite differences."""

import math

import pytest
import torch

from pilotage_trainer.losses import InfoNce, soft_margin_triplet, wbl


def unit_rows(seed, count=5, width=7):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, width, dtype=torch.float64, generator=generator)
    return torch.nn.functional.normalize(rows, dim=1)


def close_pairs(count=5):
    ignore = torch.zeros(count, count, dtype=torch.bool)
    ignore[0, 1] = ignore[1, 0] = ignore[2, 4] = ignore[4, 2] = True
    return ignore


def slow_info_nce(query, aerial, *, scale, smoothing, ignore):
    def one_way(rows, skip):
        total = 0.0
        for i, row in enumerate(rows):
            kept = [j for j in range(len(row)) if not skip[i][j]]
            norm = math.log(sum(math.exp(scale * row[j]) for j in kept))
            log_p = {j: scale * row[j] - norm for j in kept}
            total -= (1 - smoothing) * log_p[i] + smoothing * sum(log_p.values()) / len(kept)
        return total / len(rows)

    cosine = (query @ aerial.T).tolist()
    turned = [list(column) for column in zip(*cosine, strict=True)]
    return (one_way(cosine, ignore.tolist()) + one_way(turned, ignore.T.tolist())) / 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("masked", [False, True])
def test_info_nce_is_the_slow_loop(smoothing, masked):
    query, aerial = unit_rows(0), unit_rows(1)
    ignore = close_pairs() if masked else torch.zeros(5, 5, dtype=torch.bool)
    loss = InfoNce(smoothing=smoothing).double()
    expected = slow_info_nce(query, aerial, scale=1 / 0.07, smoothing=smoothing, ignore=ignore)
    assert loss(query, aerial, ignore if masked else None).item() == pytest.approx(expected, rel=1e-6)


def test_info_nce_sends_no_gradient_into_what_is_masked():
    ignore = close_pairs()
    cosine = (unit_rows(0) @ unit_rows(1).T).requires_grad_()
    InfoNce().double()(torch.eye(5, dtype=torch.float64), cosine.T, ignore).backward()
    assert (cosine.grad[ignore] == 0).all() and (cosine.grad[~ignore] != 0).all()


def test_info_nce_scale_starts_at_the_papers_and_is_capped():
    loss = InfoNce()
    assert loss.scale.item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        loss.log_scale.fill_(50.0)
    assert loss.scale.item() == 100.0


def slow_wbl(query, aerial, alpha=10.0):
    cosine = (query @ aerial.T).tolist()
    count, total = len(cosine), 0.0
    for i in range(count):
        for negatives in (
            [cosine[i][j] for j in range(count) if j != i],
            [cosine[j][i] for j in range(count) if j != i],
        ):
            total += math.log(1 + sum(math.exp(alpha * (n - cosine[i][i])) for n in negatives))
    return total / (2 * count)


def slow_triplet(query, aerial, gamma=10.0):
    cosine = (query @ aerial.T).tolist()
    count, total = len(cosine), 0.0
    for i in range(count):
        for j in range(count):
            if i != j:
                for other in (cosine[i][j], cosine[j][i]):
                    total += math.log(1 + math.exp(gamma * ((2 - 2 * cosine[i][i]) - (2 - 2 * other))))
    return total / (2 * count * (count - 1))


@pytest.mark.parametrize(("fast", "slow"), [(wbl, slow_wbl), (soft_margin_triplet, slow_triplet)])
def test_tuple_losses_are_the_slow_loop(fast, slow):
    query, aerial = unit_rows(2), unit_rows(3)
    assert fast(query, aerial).item() == pytest.approx(slow(query, aerial), rel=1e-9)


def test_wbl_is_info_nce_at_a_tenth_without_smoothing():
    query, aerial = unit_rows(4), unit_rows(5)
    loss = InfoNce(smoothing=0.0).double()
    with torch.no_grad():
        loss.log_scale.fill_(math.log(10.0))
    assert wbl(query, aerial).item() == pytest.approx(loss(query, aerial).item(), rel=1e-9)


@pytest.mark.parametrize("loss", [InfoNce().double(), wbl, soft_margin_triplet])
def test_gradients_are_the_finite_differences(loss):
    query, aerial = unit_rows(6, 4, 3).requires_grad_(), unit_rows(7, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(loss, (query, aerial))


@pytest.mark.parametrize("loss", [InfoNce(), wbl, soft_margin_triplet])
def test_losses_stay_finite_when_every_pair_is_wrong(loss):
    query = torch.eye(4)
    assert loss(query, query.roll(1, 0)).isfinite()
