"""Every loss against a slow loop in float64, and its gradient against finite differences."""

import itertools
import math

import pytest
import torch

from pilotage.errors import ModelError
from pilotage_trainer.losses import LOSSES, InfoNce, Triplet, Wbl, create_loss

COUNT = 6


def unit_rows(seed, count=COUNT, width=7):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, width, dtype=torch.float64, generator=generator)
    return torch.nn.functional.normalize(rows, dim=1)


def close_pairs(count=COUNT):
    ignore = torch.zeros(count, count, dtype=torch.bool)
    ignore[0, 1] = ignore[1, 0] = ignore[2, 4] = ignore[4, 2] = True
    return ignore


def both_ways(one_way):
    """Average a slow loop over rows and columns of the cosines."""

    def slow(query, aerial, ignore, **options):
        cosine = (query @ aerial.T).tolist()
        skip = ignore.tolist()
        turned = [list(column) for column in zip(*cosine, strict=True)]
        parts = [
            one_way(cosine, skip, **options),
            one_way(turned, [list(c) for c in zip(*skip, strict=True)], **options),
        ]
        return sum(parts) / 2

    return slow


def slow_info_nce_one_way(cosine, skip, scale=1 / 0.07, smoothing=0.1):
    total = 0.0
    for i, row in enumerate(cosine):
        kept = [j for j in range(len(row)) if not skip[i][j]]
        norm = math.log(sum(math.exp(scale * row[j]) for j in kept))
        log_p = {j: scale * row[j] - norm for j in kept}
        total -= (1 - smoothing) * log_p[i] + smoothing * sum(log_p.values()) / len(kept)
    return total / len(cosine)


def slow_wbl_one_way(cosine, skip, alpha=10.0):
    total = 0.0
    for i, row in enumerate(cosine):
        others = [j for j in range(len(row)) if j != i and not skip[i][j]]
        total += math.log(1 + sum(math.exp(alpha * (row[j] - row[i])) for j in others))
    return total / len(cosine)


def slow_triplet_one_way(cosine, skip, mining="all", margin=0.0, gamma=10.0):
    terms = []
    for i, row in enumerate(cosine):
        away = sorted(
            ((2 - 2 * row[i]) - (2 - 2 * row[j]) for j in range(len(row)) if j != i and not skip[i][j]), reverse=True
        )
        terms += {"all": away, "hard": away[:1], "semi": away[: math.isqrt(len(cosine))]}[mining]
    if margin:
        violating = [t + margin for t in terms if t + margin > 0]
        return sum(violating) / max(len(violating), 1)
    return sum(math.log(1 + math.exp(gamma * t)) for t in terms) / len(terms)


CASES = [
    (InfoNce(), both_ways(slow_info_nce_one_way), {}),
    (InfoNce(smoothing=0.0), both_ways(slow_info_nce_one_way), {"smoothing": 0.0}),
    (InfoNce(temperature=0.02), both_ways(slow_info_nce_one_way), {"scale": 50.0}),
    (Wbl(), both_ways(slow_wbl_one_way), {}),
    (Wbl(alpha=3.0), both_ways(slow_wbl_one_way), {"alpha": 3.0}),
    *(
        (Triplet(mining=mining, margin=margin), both_ways(slow_triplet_one_way), {"mining": mining, "margin": margin})
        for mining, margin in itertools.product(("all", "hard", "semi"), (0.0, 0.3))
    ),
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("loss", "slow", "options"), CASES)
def test_a_loss_is_the_slow_loop(loss, slow, options, masked):
    query, aerial = unit_rows(0), unit_rows(1)
    ignore = close_pairs() if masked else torch.zeros(COUNT, COUNT, dtype=torch.bool)
    expected = slow(query, aerial, ignore, **options)
    assert loss.double()(query, aerial, ignore if masked else None).item() == pytest.approx(expected, rel=1e-6)


def test_one_way_forms_are_the_rows_and_the_columns():
    query, aerial = unit_rows(0), unit_rows(1)
    rows = InfoNce(direction="query-to-aerial").double()(query, aerial)
    columns = InfoNce(direction="aerial-to-query").double()(query, aerial)
    nothing = torch.zeros(COUNT, COUNT, dtype=torch.bool).tolist()
    assert rows.item() == pytest.approx(slow_info_nce_one_way((query @ aerial.T).tolist(), nothing), rel=1e-6)
    assert columns.item() == pytest.approx(slow_info_nce_one_way((aerial @ query.T).tolist(), nothing), rel=1e-6)
    assert rows.item() != pytest.approx(columns.item(), rel=1e-3)
    both = InfoNce().double()(query, aerial).item()
    assert both == pytest.approx((rows.item() + columns.item()) / 2)


@pytest.mark.parametrize(("loss", "slow", "options"), CASES)
def test_gradients_are_the_finite_differences(loss, slow, options):
    query, aerial = unit_rows(6, 4, 3).requires_grad_(), unit_rows(7, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(loss.double(), (query, aerial))
    mask = close_pairs(5)[:4, :4]
    assert torch.autograd.gradcheck(lambda q, a: loss.double()(q, a, mask), (query, aerial))


@pytest.mark.parametrize(("loss", "slow", "options"), CASES)
def test_what_is_ignored_changes_nothing(loss, slow, options):
    """A pair that is neither positive nor negative may lie anywhere."""
    ignore = close_pairs()
    cosine = unit_rows(0) @ unit_rows(1).T
    moved = torch.where(ignore, torch.full_like(cosine, 0.99), cosine)
    identity = torch.eye(COUNT, dtype=torch.float64)
    losses = [loss.double()(identity, values.T.contiguous(), ignore).item() for values in (cosine, moved)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_the_temperature_is_learnt_or_fixed():
    query, aerial = unit_rows(0), unit_rows(1)
    learnt, fixed = InfoNce().double(), InfoNce(temperature=0.02).double()
    learnt(query, aerial).backward()
    assert learnt.log_scale.grad.abs() > 0 and learnt.scale.item() == pytest.approx(1 / 0.07)
    assert not fixed.log_scale.requires_grad and fixed.scale.item() == pytest.approx(50.0)
    with torch.no_grad():
        learnt.log_scale.fill_(50.0)
    assert learnt.scale.item() == 100.0


def test_wbl_is_info_nce_at_a_tenth_without_smoothing():
    query, aerial = unit_rows(4), unit_rows(5)
    loss = InfoNce(smoothing=0.0, temperature=0.1).double()
    assert Wbl()(query, aerial).item() == pytest.approx(loss(query, aerial).item(), rel=1e-6)


def test_a_constant_descriptor_costs_the_hardest_triplet_exactly_its_margin():
    same = unit_rows(0)[:1].repeat(COUNT, 1)
    assert Triplet(mining="hard", margin=0.3)(same, same).item() == pytest.approx(0.3)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_stay_finite_at_the_edges(name):
    loss = create_loss(name)
    right = torch.eye(4)
    for query, aerial, ignore in (
        (right, right.roll(1, 0), None),  # every pair wrong
        (right, right, None),
        (right[:1], right[:1], None),  # no negatives
        (right, right.roll(1, 0), ~torch.eye(4, dtype=torch.bool)),  # all of them ignored
        (right.half(), right.half(), None),
        (right.bfloat16(), right.bfloat16(), None),
    ):
        moving = query.clone().requires_grad_()
        value = loss(moving, aerial, ignore)
        value.backward()
        assert value.isfinite() and moving.grad.isfinite().all(), (name, len(query))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("hinge", {}, "unknown loss 'hinge'; known are info-nce"),
        ("wbl", {"gamma": 3}, "loss 'wbl' has no option 'gamma'; it has alpha"),
        ("info-nce", {"direction": "up"}, "known are both, query-to-aerial, aerial-to-query"),
        ("info-nce", {"smoothing": 1.0}, "smoothing 1"),
        ("triplet", {"mining": "soft"}, "known are all, hard and semi"),
    ],
)
def test_what_is_no_loss_is_refused(name, options, says):
    with pytest.raises(ModelError, match=says):
        create_loss(name, options)
