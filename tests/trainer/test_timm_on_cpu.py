"""timm beside a torchvision whose operators may or may not load."""

import pytest

from pilotage_trainer import timm_on_cpu


def test_timm_makes_a_backbone():
    assert timm_on_cpu.create_model("resnet10t", num_classes=0).num_features == 512


def test_nothing_is_declared_where_the_real_operators_load(monkeypatch):
    monkeypatch.setattr(timm_on_cpu, "_library", None)
    monkeypatch.setattr(timm_on_cpu, "_real_operators_load", lambda package: True)
    timm_on_cpu._declare_missing_operators()
    assert timm_on_cpu._library is None  # a second registration of a name ends the process, from C++


@pytest.mark.parametrize("content", [None, b"not a library"])
def test_operators_that_are_absent_or_broken_do_not_load(tmp_path, content):
    if content is not None:
        (tmp_path / "_C.so").write_bytes(content)
    assert not timm_on_cpu._real_operators_load(tmp_path)
