"""More GPUs than there can be are refused, with both numbers."""

import pytest


def test_more_gpus_than_the_environment_leaves(fresh, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    with pytest.raises(ValueError, match="num_gpus is 3, but CUDA_VISIBLE_DEVICES contains 2: 0,3"):
        fresh.init(num_gpus=3)


def test_half_a_gpu(fresh):
    with pytest.raises(ValueError, match=r"num_gpus must be a whole number, but is 0\.5"):
        fresh.init(num_gpus=0.5)
