"""The gallery: every structure of the notation has words, a count of parameters and a matrix that is its own."""

from __future__ import annotations

import numpy as np
import pytest

import openreml_core as reml
from openreml_core.notation import STRUCTURES

# parameters over k = 6 effects, by hand: k(k+1)/2 for us, variances and correlations for the others
COUNTS = {
    "us": 21, "diag": 6, "id": 1, "cs": 2, "csh": 7, "ar1": 2, "arh1": 7, "ar2": 3, "arh2": 8, "toep": 6, "toeph": 11,
    "ante": 11, "fa": 12, "rr": 6, "exp": 2, "gau": 2, "sph": 2, "matern": 2, "known": 1,
}  # fmt: skip


@pytest.mark.parametrize("keyword", sorted(STRUCTURES))
def test_every_structure_of_the_notation_is_described(keyword: str) -> None:
    found = reml.describe_structure(keyword)
    assert found.keyword == keyword
    assert found.sentence.endswith(".") and len(found.sentence) < 180
    matrix = found.example.to_numpy()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12
    assert (np.diag(matrix) > 0).all()


@pytest.mark.parametrize(("keyword", "count"), COUNTS.items())
def test_parameters_are_counted_at_a_size(keyword: str, count: int) -> None:
    assert reml.describe_structure(keyword).n_parameters == count


def test_parameters_grow_with_size_order_and_ranges() -> None:
    assert reml.describe_structure("us", 10).n_parameters == 55
    assert reml.describe_structure("fa", 6, k=2).n_parameters == 17  # 6 + 5 loadings, 6 specific variances
    assert reml.describe_structure("ante", 5, k=2).n_parameters == 5 + 4 + 3
    assert reml.describe_structure("exp", aniso=True).n_parameters == 3
    assert reml.describe_structure("exph", 4).n_parameters == 5


def test_examples_are_what_their_names_say() -> None:
    example = {name: found.example.to_numpy() for name, found in reml.structure_gallery().items()}
    np.testing.assert_allclose(example["ar1"], 0.7 ** np.abs(np.subtract.outer(range(6), range(6))))
    off = example["cs"][~np.eye(6, dtype=bool)]
    assert np.ptp(off) == 0 and 0 < off[0] < 1
    assert np.count_nonzero(example["diag"] - np.diag(np.diag(example["diag"]))) == 0
    for lag in range(1, 6):
        assert np.ptp(np.diag(example["toep"], lag)) < 1e-14
    assert np.linalg.matrix_rank(example["rr"]) == 1
    np.testing.assert_allclose(example["known"][2, 3], 0.5)  # full sibs
    np.testing.assert_allclose(example["known"][5, 5], 1.25)  # a child of full sibs, F = 1/4
    inverse = np.linalg.inv(example["ante"])
    assert np.abs(np.triu(inverse, 2)).max() < 1e-10  # first order: each level leans on the one before it


def test_only_what_makes_sense_is_offered() -> None:
    intercept = reml.suitable_structures(["intercept"])
    assert {"us", "known", "exp", "spl", "spl2d", "kron"} <= set(intercept)
    assert not {"ar1", "cs", "fa", "diag"} & set(intercept)
    slope = reml.suitable_structures(["intercept", "number"], 2)
    assert "us" in slope and "diag" in slope and not {"cs", "ar1", "fa", "known"} & set(slope)
    factor = reml.suitable_structures(["factor"], 6)
    assert {"us", "diag", "id", "cs", "csh", "ar1", "arh1", "ar2", "toep", "toeph", "ante", "fa", "rr"} <= set(factor)
    assert "fa" not in reml.suitable_structures(["factor"], 2)


def test_what_is_no_structure_is_refused_in_words() -> None:
    with pytest.raises(reml.FormulaError, match="'arima' is no covariance structure"):
        reml.describe_structure("arima")
    with pytest.raises(reml.FormulaError, match="not possible"):
        reml.describe_structure("fa", 3, k=5)
