"""The inverse from a Cholesky factor, on one core or by halves."""

from __future__ import annotations

import pytest
import torch

from openreml_core.engines import inverse


@pytest.mark.parametrize("n", [1, 2, 7, 40, 97])
def test_halves_give_the_whole(n, monkeypatch):
    monkeypatch.setattr(inverse, "ONE_CORE", 8)
    torch.manual_seed(n)
    a = torch.randn(n, n + 3, dtype=torch.float64)
    v = a @ a.T
    found = inverse.cholesky_inverse(torch.linalg.cholesky(v))
    torch.testing.assert_close(found, torch.linalg.inv(v), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found, found.T, rtol=1e-10, atol=1e-10)


def test_the_number_of_threads_is_left_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inverse.cholesky_inverse(torch.eye(5, dtype=torch.float64))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
