"""Negatives of earlier batches: the hardest under the current weights, with the gradient each method has."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pilotage.errors import ModelError
from pilotage_trainer.crossbatch import AERIAL, QUERY, CrossBatch, CrossBatchConfig, DescriptorQueue

COUNT, WIDTH = 40, 6


class Toy:
    """Two linear encoders of stored vectors, and steps that make what was stored stale."""

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(2, COUNT, 10, generator=generator)
        self.layers = [nn.Linear(10, WIDTH) for _ in range(2)]
        for layer in self.layers:
            nn.init.normal_(layer.weight, generator=generator)
        self.asked = []

    def describe(self, samples, side):
        self.asked.append((tuple(samples), side, torch.is_grad_enabled()))
        return functional.normalize(self.layers[side](self.inputs[side, samples]), dim=1)

    def batch(self, samples):
        return [self.describe(samples, side) for side in (QUERY, AERIAL)]

    def drift(self, size=0.6):
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.add_(size * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(9)))


def memory(name, *, ids=None, batches=8, **more):
    config = CrossBatchConfig(name=name, batches=batches, **more)
    return CrossBatch(
        config, np.arange(COUNT) if ids is None else ids, batch=5, descriptor=WIDTH, xyz_m=more.pop("xyz_m", None)
    )


def filled(name, toy, **more):
    """Return a memory with 35 samples in it, stored before the network drifted."""
    made = memory(name, **more)
    with torch.no_grad():
        for start in range(0, 35, 5):
            rows = np.arange(start, start + 5)
            made.queue.push(rows, *toy.batch(rows))
    toy.drift()
    toy.asked.clear()
    return made


ANCHORS = np.arange(35, 40)


def test_the_queue_forgets_the_oldest_and_holds_a_sample_once():
    queue = DescriptorQueue(6, 2)
    for start in (0, 3, 6):
        rows = np.arange(start, start + 3)
        queue.push(rows, torch.full((3, 2), float(start)), torch.full((3, 2), -float(start)))
    assert sorted(queue.samples) == [3, 4, 5, 6, 7, 8]
    queue.push(np.array([4]), torch.full((1, 2), 9.0), torch.full((1, 2), -9.0))
    slot = np.flatnonzero(queue.samples == 4)
    assert len(slot) == 1 and queue.stored[QUERY, slot[0], 0] == 9.0
    queue.overwrite(np.array([8, 4]), AERIAL, torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
    assert queue.stored[AERIAL, slot[0], 0] == 2.0


def brute_force_hardest(toy, side):
    """Return, for every anchor, the stored sample most similar to it under the weights as they are."""
    anchors = toy.describe(ANCHORS, 1 - side)
    return (anchors @ toy.describe(np.arange(35), side).T).argmax(dim=1).tolist()


def test_docb_mines_the_hardest_under_the_current_weights():
    toy = Toy()
    made = filled("docb", toy, guard=40)
    with torch.no_grad():
        stale = made.queue.hardest(toy.describe(ANCHORS, QUERY), AERIAL, np.zeros((5, 40), bool), 1)[:, 0].tolist()
        current = {side: brute_force_hardest(toy, side) for side in (AERIAL, QUERY)}
    assert stale != current[AERIAL]  # what was stored would have chosen others
    toy.asked.clear()
    made.term(ANCHORS, *toy.batch(ANCHORS), toy.describe)
    reloaded = {
        side: samples for samples, side, with_gradient in toy.asked if with_gradient and samples != tuple(ANCHORS)
    }
    assert {side: sorted(samples) for side, samples in reloaded.items()} == {
        side: sorted(set(rows)) for side, rows in current.items()
    }


def test_docb_takes_the_hardest_of_its_guard():
    toy = Toy()
    made = filled("docb", toy, guard=4)
    with torch.no_grad():
        anchors = toy.describe(ANCHORS, QUERY)
        few = made.queue.hardest(anchors, AERIAL, np.zeros((5, 40), bool), 4)
        expected = [
            max(row, key=lambda s, a=a: float(a @ toy.describe(np.array([s]), AERIAL)[0]))
            for a, row in zip(anchors, few, strict=True)
        ]
    toy.asked.clear()
    made.term(ANCHORS, *toy.batch(ANCHORS), toy.describe)
    reloaded = [s for s, side, grad in toy.asked if grad and side == AERIAL and s != tuple(ANCHORS)]
    assert [sorted(s) for s in reloaded] == [sorted(set(expected))]


def slow_term(toy, negatives, query, aerial, gamma=10.0):
    total = []
    query, aerial = query.detach(), aerial.detach()
    for anchors, side in ((query, AERIAL), (aerial, QUERY)):
        terms = []
        for i, anchor in enumerate(anchors):
            negative = negatives(side)[i].detach()
            positive = float((query[i] * aerial[i]).sum())
            d2_pos, d2_neg = 2 - 2 * positive, 2 - 2 * float(anchor @ negative)
            terms.append(math.log(1 + math.exp(gamma * (d2_pos - d2_neg))))
        total.append(sum(terms) / len(terms))
    return sum(total) / 2


def test_the_term_is_the_soft_margin_with_the_mined_negative():
    toy = Toy()
    made = filled("docb", toy, guard=40, weight=1.0)
    query, aerial = toy.batch(ANCHORS)
    hardest = {side: brute_force_hardest(toy, side) for side in (AERIAL, QUERY)}
    expected = slow_term(toy, lambda side: toy.describe(np.array(hardest[side]), side), query, aerial)
    assert made.term(ANCHORS, query, aerial, toy.describe).item() == pytest.approx(expected, rel=1e-5)
    toy2 = Toy()
    stored = filled("xbm-hard", toy2, weight=0.5)
    query, aerial = toy2.batch(ANCHORS)

    def as_stored(side):
        anchors = query if side == AERIAL else aerial
        kept = stored.queue.stored[side, :35]
        return kept[(anchors @ kept.T).argmax(dim=1)]

    expected = 0.5 * slow_term(toy2, as_stored, query, aerial)
    assert stored.term(ANCHORS, query, aerial, toy2.describe).item() == pytest.approx(expected, rel=1e-5)


def test_only_docb_sends_gradient_into_the_negative():
    """The inputs of the stored samples reach the loss through reloading, and through nothing else."""
    for name, reaches in (("docb", True), ("xbm-hard", False)):
        toy = Toy()
        made = filled(name, toy)
        toy.inputs.requires_grad_()
        query, aerial = toy.batch(ANCHORS)
        made.term(ANCHORS, query, aerial, toy.describe).backward()
        gradient = toy.inputs.grad.abs().sum(dim=(0, 2))
        assert (gradient[35:] > 0).all()  # anchors and positives
        assert bool((gradient[:35] > 0).any()) is reaches


def test_no_negative_is_of_the_own_id_or_of_the_same_ground():
    toy = Toy()
    ids = np.arange(COUNT)
    ids[:35] = np.arange(35) % 5 + 35  # everything stored is of an anchor's id; sample s of id 35 + s % 5
    made = filled("docb", toy, ids=ids, guard=40)
    toy.asked.clear()
    made.term(ANCHORS, *toy.batch(ANCHORS), toy.describe)
    xyz_m = np.zeros((COUNT, 3))
    near = CrossBatch(
        CrossBatchConfig(name="docb", apart_m=10.0), np.arange(COUNT), batch=5, descriptor=WIDTH, xyz_m=xyz_m
    )
    with torch.no_grad():
        near.queue.push(np.arange(5), *toy.batch(np.arange(5)))
    query, aerial = toy.batch(ANCHORS)
    assert near.term(ANCHORS, query, aerial, toy.describe).item() == 0  # all of it is the same ground
    barred = made._barred(ANCHORS)
    for i, anchor in enumerate(ANCHORS):
        stored = made.queue.samples
        assert np.array_equal(barred[i], ids[stored] == ids[anchor])


def test_an_empty_memory_adds_nothing_and_remembers():
    toy = Toy()
    made = memory("docb")
    query, aerial = toy.batch(ANCHORS)
    value = made.term(ANCHORS, query, aerial, toy.describe)
    assert value.item() == 0 and sorted(made.queue.samples[:5]) == ANCHORS.tolist()
    value.backward()


def test_a_resumed_memory_is_the_same():
    toy = Toy()
    made = filled("docb", toy)
    other = memory("docb")
    other.load_state(made.state())
    values = [m.term(ANCHORS, *toy.batch(ANCHORS), toy.describe).item() for m in (made, other)]
    assert values[0] == values[1] and np.array_equal(made.queue.samples, other.queue.samples)
    with pytest.raises(ModelError, match="the checkpoint's memory is"):
        memory("docb", batches=3).load_state(made.state())


def test_how_often_the_reloaded_negative_is_still_harder_is_counted():
    toy = Toy()
    made = filled("docb", toy, guard=40)
    query, aerial = toy.batch(ANCHORS)
    made.term(ANCHORS, query, aerial, toy.describe)
    in_batch = (query @ aerial.T).fill_diagonal_(-1)
    harder = 0
    for anchors, side, rivals in ((query, AERIAL, in_batch), (aerial, QUERY, in_batch.T)):
        stored = toy.describe(np.arange(35), side)
        harder += int(((anchors @ stored.T).amax(dim=1) > rivals.amax(dim=1)).sum())
    assert (made.mined, made.harder) == (10, harder) and harder > 0


@pytest.mark.parametrize("options", [{"name": "xbm"}, {"name": "docb", "batches": 0}, {"name": "docb", "guard": 0}])
def test_configs_that_make_no_sense_are_refused(options):
    with pytest.raises(ModelError, match="known are none, xbm-hard, docb"):
        CrossBatchConfig(**options)


def test_a_radius_without_positions_is_refused():
    with pytest.raises(ModelError, match="apart_m is 25, but the data set has no positions"):
        CrossBatch(CrossBatchConfig(name="docb", apart_m=25.0), np.arange(4), batch=2, descriptor=3)


@pytest.mark.parametrize("name", ["docb", "xbm-hard"])
def test_a_second_pass_has_the_negatives_of_the_first_and_stores_nothing(name):
    """ASAM's gradient at the perturbed weights is that of the same loss; by then the batch itself is in the memory."""
    toy = Toy()
    made = filled(name, toy, batches=7)  # full: storing the batch overwrites the oldest
    query, aerial = toy.batch(ANCHORS)
    first = made.term(ANCHORS, query, aerial, toy.describe).item()
    counted, samples, stored = (made.mined, made.harder), made.queue.samples.copy(), made.queue.stored.clone()
    assert set(ANCHORS) <= set(samples)
    assert made.term(ANCHORS, query, aerial, toy.describe, again=True).item() == first  # the weights stand still
    toy.drift(0.1)
    moved = made.term(ANCHORS, *toy.batch(ANCHORS), toy.describe, again=True)
    assert moved.item() != first
    assert (made.mined, made.harder) == counted and np.array_equal(made.queue.samples, samples)
    assert torch.equal(made.queue.stored, stored)


def test_counts_are_resumed():
    toy = Toy()
    made, other = filled("docb", toy), memory("docb")
    made.term(ANCHORS, *toy.batch(ANCHORS), toy.describe)
    other.load_state(made.state())
    assert (other.mined, other.harder) == (made.mined, made.harder) == (10, made.harder)


def test_the_real_network_reloads_its_hardest_after_some_steps(in_memory, tiny, run_config):
    """With a guard of the whole queue: the arg-max under the weights before the step, which the stored vectors miss."""
    from pilotage_trainer import feeds, train
    from pilotage_trainer.ranks import Ranks

    of = tiny(
        "cross_batch.name=docb", "cross_batch.batches=8", "cross_batch.guard=99", "cross_batch.start_epoch=0",
        "train.batch=4", "train.lr=2e-2", "train.warm_up_epochs=0",
    )  # fmt: skip
    split = in_memory(range(28), size=(32, 128), tile_size=(64, 64))
    trainer = train.Trainer(of, feeds.SplitFeed(of, split, Ranks()), run_config())
    batches = trainer.feed.epoch(0, trainer.embed)
    for i in range(6):
        trainer.step(batches[i], 0.5)
    queue, last = trainer.memory.queue, batches[6]
    held = queue.samples[queue.samples >= 0]
    stored = queue.stored[:, queue.samples >= 0].clone()
    with torch.no_grad():
        fresh = [trainer._describe_again(held, side) for side in (QUERY, AERIAL)]
        anchors = trainer.model(trainer.normalise(last.query), trainer.normalise(last.aerial))
    trainer.step(last, 0.5)
    differs = 0
    for side in (QUERY, AERIAL):
        hardest, stale = (held[(anchors[1 - side] @ rows[side].T).argmax(dim=1).numpy()] for rows in (fresh, stored))
        assert trainer.memory._last[side][0].tolist() == hardest.tolist()
        differs += int((stale != hardest).sum())
    assert len(held) == 24 and differs  # what was stored would have chosen otherwise


def test_batch_norm_treats_what_is_reloaded_as_a_batch_and_remembers_nothing(in_memory, tiny, run_config):
    """By its running statistics the network would learn to tell reloaded pictures from the batch's own."""
    from pilotage_trainer import feeds, train
    from pilotage_trainer.ranks import Ranks

    of = tiny("cross_batch.name=docb", "model.backbone=resnet10t", "model.options.width=32", "train.batch=6")
    split = in_memory(range(12), size=(32, 128), tile_size=(64, 64))
    trainer = train.Trainer(of, feeds.SplitFeed(of, split, Ranks()), run_config())
    trainer.model.train()
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    batch = trainer.feed.epoch(0, trainer.embed)[0]
    with torch.no_grad():
        again = trainer._describe_again(batch.samples, QUERY)
    assert all(torch.equal(value, before[key]) for key, value in trainer.model.state_dict().items())
    with torch.no_grad():
        query = trainer.model.query(trainer.normalise(batch.query))
    torch.testing.assert_close(again, query)
    assert not all(torch.equal(value, before[key]) for key, value in trainer.model.state_dict().items())
