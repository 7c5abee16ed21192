"""The network: what its four slots mean."""

import pytest
import torch

from pilotage_trainer.models import FrGeo, region_means


def test_quadrants_come_in_the_papers_order():
    square = torch.zeros(1, 1, 4, 4)
    square[..., 2:, :2], square[..., :2, :2], square[..., :2, 2:], square[..., 2:, 2:] = 1, 2, 3, 4
    assert region_means(square, layout="quadrants").flatten().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("side", [4, 7])
def test_turning_counter_clockwise_moves_every_quadrant_one_slot_earlier(side):
    features = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    still = region_means(features, layout="quadrants")
    for turns in range(1, 4):
        turned = region_means(features.rot90(turns, (-2, -1)), layout="quadrants")
        # counter-clockwise, what was lower right comes to upper right, one slot earlier
        torch.testing.assert_close(turned, still.roll(-turns, dims=1))


def test_strips_run_left_to_right_with_the_rest_in_the_last():
    panorama = torch.arange(9.0).repeat(2, 1)[None, None]
    assert region_means(panorama, layout="strips").flatten().tolist() == [0.5, 2.5, 4.5, 7.0]


def test_rolling_a_panorama_by_a_quarter_rolls_the_strips():
    panorama = torch.randn(1, 3, 2, 8, generator=torch.Generator().manual_seed(0))
    rolled = region_means(panorama.roll(-2, dims=-1), layout="strips")
    torch.testing.assert_close(rolled, region_means(panorama, layout="strips").roll(-1, dims=1))


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="'quadrants' and 'strips'"):
        region_means(torch.zeros(1, 1, 4, 4), layout="thirds")


def test_descriptors_are_512_numbers_of_unit_length():
    model = FrGeo("resnet10t").eval()
    with torch.inference_mode():
        described = model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert described.shape == (2, 512) and described.dtype == torch.float32
    torch.testing.assert_close(described.norm(dim=1), torch.ones(2))


def test_a_descriptor_of_nothing_is_not_nan():
    model = FrGeo("resnet10t").eval()
    torch.nn.init.zeros_(model.reduce.weight)
    torch.nn.init.zeros_(model.reduce.bias)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 64, 64)).isfinite().all()


def test_reducing_after_the_means_is_the_convolution_before_them():
    model = FrGeo("resnet10t")
    features = torch.randn(2, model.reduce.in_features, 4, 4, generator=torch.Generator().manual_seed(0))
    before = torch.nn.functional.conv2d(features, model.reduce.weight[..., None, None], model.reduce.bias)
    after = model.reduce(region_means(features, layout="quadrants"))
    torch.testing.assert_close(after, region_means(before, layout="quadrants"), atol=1e-5, rtol=1e-5)
