"""The models: their papers' sizes, what their parts compute, what they refuse."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from pilotage.errors import ModelError
from pilotage_trainer.data.augment import turn_pair
from pilotage_trainer.models import MODELS, FrGeo, create, region_means, trunk, zoo
from pilotage_trainer.models.saig import Attention, Smd
from pilotage_trainer.models.spatial import SpatialEmbedding

SMALL = {
    "frgeo": {"backbone": "test_convnext3"},
    "frgeo-512": {"backbone": "test_resnet"},
    "msfa": {"backbone": "test_resnet"},
    "sample4geo": {"backbone": "test_convnext3"},
    "safa": {"backbone": "test_resnet"},
    "gap": {"backbone": "test_vit"},
    **{n: {"options": {"width": 96, "attention_heads": 3, "layers": 2}} for n in MODELS if n.startswith("saig")},
}
GROUND, SQUARE = (64, 256), (128, 128)


def small(name, **more):
    aerial = GROUND if MODELS[name].polar else SQUARE
    return create(name, query_px=GROUND, aerial_px=aerial, **{**SMALL[name], **more}), aerial


def pixels(*size, count=2, seed=0):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def rows():
    return {row["name"]: row for row in zoo.rows()}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_its_papers_size(rows, name):
    row, spec = rows[name], MODELS[name]
    assert row["descriptor"] == spec.descriptor
    if spec.paper_params_m:
        assert row["params_m"] == pytest.approx(spec.paper_params_m, rel=0.02)
        assert row["gmacs"] == pytest.approx(spec.paper_gmacs, rel=0.02)
    else:  # the paper gives none for its baseline: FRGeo's without FRM, which has no parameters
        assert name == "gap" and row["params_m"] == rows["frgeo"]["params_m"]


def test_the_table_is_the_papers():
    descriptors = {name: spec.descriptor for name, spec in MODELS.items()}
    assert descriptors == {
        "frgeo": 3072, "frgeo-512": 512, "msfa": 512, "saig-s-gap": 384, "saig-s-smd": 3072, "saig-d-gap": 384,
        "saig-d-smd": 3072, "sample4geo": 1024, "safa": 4096, "gap": 768,
    }  # fmt: skip
    assert [name for name, spec in MODELS.items() if spec.shared] == ["sample4geo"]
    assert MODELS["saig-s-smd"].statistics == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("name", MODELS)
def test_descriptors_are_of_unit_length_and_every_parameter_learns(name):
    model, aerial = small(name)
    outputs = model(pixels(*GROUND), pixels(*aerial, seed=1))
    for out in outputs:
        assert out.shape == (2, model.descriptor) and out.dtype == torch.float32
        torch.testing.assert_close(out.norm(dim=1), torch.ones(2), atol=1e-4, rtol=1e-4)
    (outputs[0] * outputs[1].flip(0)).sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", MODELS)
def test_black_and_white_pictures_give_finite_descriptors(name):
    model, aerial = small(name)
    model.eval()
    with torch.inference_mode():
        for level in (-3.0, 0.0, 3.0):
            for out in model(torch.full((1, 3, *GROUND), level), torch.full((1, 3, *aerial), level)):
                assert out.isfinite().all()


def test_a_seed_gives_the_same_weights():
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(small("msfa")[0].state_dict())
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def test_shared_weights_are_counted_once_and_describe_both():
    one, _ = small("sample4geo")
    two, _ = small("sample4geo", shared=False)
    assert zoo.params_m(two) == pytest.approx(2 * zoo.params_m(one))
    assert one.aerial is one.query and two.aerial is not two.query
    one.eval()
    picture = pixels(*GROUND)
    with torch.inference_mode():
        together = one(picture, picture)
    torch.testing.assert_close(together[0], together[1])


def test_quadrants_come_in_the_papers_order():
    square = torch.zeros(1, 1, 4, 4)
    square[..., 2:, :2], square[..., :2, :2], square[..., :2, 2:], square[..., 2:, 2:] = 1, 2, 3, 4
    assert region_means(square, layout="quadrants").flatten().tolist() == [1, 2, 3, 4]


def test_strips_run_left_to_right_with_the_rest_in_the_last():
    panorama = torch.arange(9.0).repeat(2, 1)[None, None]
    assert region_means(panorama, layout="strips").flatten().tolist() == [0.5, 2.5, 4.5, 7.0]


@pytest.mark.parametrize(("size", "layout"), [((1, 3), "strips"), ((1, 4), "quadrants"), ((4, 1), "quadrants")])
def test_a_map_too_small_for_four_regions_is_refused(size, layout):
    with pytest.raises(ModelError, match=f"cannot be cut in four {layout}"):
        region_means(pixels(*size), layout=layout)


@pytest.mark.parametrize("side", [4, 7])
def test_turning_both_views_moves_the_slots_of_both_alike(side):
    square = pixels(side, side)
    panorama = pixels(2, 8)
    for turns in range(1, 4):
        turned = region_means(square.rot90(turns, (-2, -1)), layout="quadrants")
        rolled = region_means(panorama.roll(-2 * turns, dims=-1), layout="strips")
        torch.testing.assert_close(turned, region_means(square, layout="quadrants").roll(-turns, dims=1))
        torch.testing.assert_close(rolled, region_means(panorama, layout="strips").roll(-turns, dims=1))


def test_the_augmentation_turns_pictures_as_the_slots_expect():
    rng = np.random.default_rng(0)
    query, aerial = (rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in ((8, 32), (16, 16)))

    def slots(picture, layout):
        return region_means(torch.from_numpy(picture).permute(2, 0, 1)[None].double(), layout=layout)

    for turns in range(1, 4):
        q, a = turn_pair(query, aerial, turns, ground=True)
        torch.testing.assert_close(slots(q, "strips"), slots(query, "strips").roll(-turns, dims=1))
        torch.testing.assert_close(slots(a, "quadrants"), slots(aerial, "quadrants").roll(-turns, dims=1))


@pytest.mark.parametrize("backbone", ["test_convnext3", "test_resnet", "test_vit"])
def test_frm_goes_on_any_map_in_the_published_order(backbone):
    """Pool four regions, the same LayerNorm for each, join: computed here region by region."""
    branch = FrGeo(backbone, image_px=SQUARE, width=0).eval()
    norm = branch.norm.norm
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    with torch.inference_mode():
        features = branch.features(pixels(*SQUARE))
        h, w = features.shape[2] // 2, features.shape[3] // 2
        regions = [features[..., h:, :w], features[..., :h, :w], features[..., :h, w:], features[..., h:, w:]]
        expected = torch.cat([norm(r.flatten(2).mean(dim=2)) for r in regions], dim=1)
        torch.testing.assert_close(branch(pixels(*SQUARE)), expected / expected.norm(dim=1, keepdim=True))


def test_reducing_after_the_means_is_the_convolution_before_them():
    branch = FrGeo("test_resnet", image_px=SQUARE)
    features = pixels(4, 4).repeat(1, branch.reduce.in_features // 3, 1, 1)
    before = functional.conv2d(branch.norm(features), branch.reduce.weight[..., None, None], branch.reduce.bias)
    expected = region_means(before, layout="quadrants").flatten(1)
    torch.testing.assert_close(branch.aggregate(features), expected, atol=1e-5, rtol=1e-5)


def test_transformer_tokens_lie_on_their_grid():
    model = trunk.trunk("test_vit", image_px=(64, 128))
    picture = pixels(64, 128, count=1)
    with torch.inference_mode():
        flat = model.forward_features(picture)[0, model.num_prefix_tokens :]
        grid = trunk.token_map(model, picture)[0]
    rows, columns = model.patch_embed.grid_size
    assert (rows, columns) == (4, 8) and grid.shape[1:] == (4, 8)
    assert torch.equal(grid[:, 2, 5], flat[2 * 8 + 5])


def test_the_spatial_embedding_is_safas():
    embedding = SpatialEmbedding(8, 3)
    for parameter in embedding.parameters():
        torch.nn.init.normal_(parameter)
    features = pixels(2, 4, count=2)
    found = embedding(features)
    for n in range(2):
        flat = features[n].flatten(1)  # (C, P)
        for head in range(3):
            hidden = flat.mean(dim=0) @ embedding.weight0[head] + embedding.bias0[head]
            look = hidden @ embedding.weight1[head] + embedding.bias1[head]
            torch.testing.assert_close(found[n, head], flat @ look)
    with pytest.raises(ValueError, match="made for 8 positions"):
        embedding(pixels(3, 4))


def test_saig_mixes_by_softmax_and_has_no_mlp():
    layer = Attention(12, 3)
    tokens = torch.randn(2, 5, 12)
    normed = layer.norm(tokens)
    q, k, v = (part.unflatten(2, (3, 4)) for part in (normed @ layer.qkv.weight.T + layer.qkv.bias).chunk(3, dim=2))
    mixed = torch.empty(2, 5, 3, 4)
    for n in range(2):
        for head in range(3):
            weights = torch.softmax(q[n, :, head] @ k[n, :, head].T / 2.0, dim=1)
            mixed[n, :, head] = weights @ v[n, :, head]
    torch.testing.assert_close(layer(tokens), tokens + layer.out(mixed.flatten(2)))
    assert sum(p.numel() for p in layer.parameters()) == 2 * 12 + 4 * 12 * 12 + 4 * 12


def test_smd_mixes_every_channel_along_the_tokens():
    mix = Smd(6, 2)
    features = torch.randn(1, 3, 6)
    expected = torch.stack([mix.slots(mix.down(functional.gelu(mix.up(features[0, c])))) for c in range(3)])
    torch.testing.assert_close(mix(features)[0], expected.T.flatten())


@pytest.mark.parametrize("fusion", ["concatenate", "sum", "attention-sum"])
@pytest.mark.parametrize(("taps", "heads"), [(1, 2), (2, 1), (2, 2)])
def test_every_fusion_of_msfa_is_as_long(fusion, taps, heads):
    model, _ = small("msfa", options={"fusion": fusion, "taps": taps, "heads": heads, "width": 64})
    assert model(pixels(*GROUND), pixels(*GROUND))[0].shape == (2, 64)


def test_msfa_sums_what_its_parts_see():
    branch = small("msfa", options={"width": 32})[0].query.eval()
    with torch.inference_mode():
        features = branch.features(pixels(*GROUND))
        parts = [spatial(part) for spatial, part in zip(branch.spatial, features.chunk(2, dim=1), strict=True)]
        expected = sum(part[:, head] for part in parts for head in range(2))
        torch.testing.assert_close(branch.aggregate(features), expected)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("no-such", {}, "unknown model 'no-such'; known are frgeo"),
        ("frgeo", {"backbone": "no_such_net"}, "'no_such_net' is not in timm"),
        ("frgeo", {"options": {"depth": 3}}, "model 'frgeo' has no option 'depth'; it has width"),
        ("msfa", {"options": {"fusion": "product"}}, "fusions are none, concatenate"),
        ("msfa", {"options": {"fusion": "none"}}, "they need a fusion"),
        ("msfa", {"backbone": "test_vit"}, "test_vit"),
        ("msfa", {"backbone": "vgg11", "options": {"stride": 16}}, "VGG is tapped at strides 16 and 32"),
        ("saig-s-gap", {"backbone": "resnet10t"}, "known are saig-s, saig-d"),
        ("saig-s-gap", {"pretrained": True}, "train.start_from|model.start_from"),
        ("saig-s-gap", {"shared": True, "aerial_px": (256, 256)}, "one input size"),
        ("frgeo", {"shared": True}, "its branches are separate"),
    ],
)
def test_what_cannot_be_built_says_why(name, options, says):
    with pytest.raises(ModelError, match=says):
        create(name, **options)


def test_pretrained_weights_that_cannot_be_had_are_one_line(monkeypatch):
    def no_network(*_, **__):
        raise OSError("We couldn't connect to the hub\nand more")

    monkeypatch.setattr(trunk, "create_model", no_network)
    with pytest.raises(ModelError, match=r"cannot be had \(We couldn't connect to the hub\); model.pretrained=false"):
        create("frgeo", pretrained=True)
    with pytest.raises(ModelError, match="cannot be had"):
        create("msfa", pretrained=True)
