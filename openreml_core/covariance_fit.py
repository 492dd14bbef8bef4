"""``fit_covariance``: REML for a covariance that is built by hand, as a tree of matrices.

    y = X b + e,   e ~ N(0, V(theta)),   V a tree such as Sum(gen=Propagated(Dummy(gen), Scaled(24)), residual=Scaled(72))
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import Matrix, Propagated, Sum, WholeCovariance, as_matrix
from openreml_core.design import build_design
from openreml_core.engines import MarginalEngine
from openreml_core.engines.threads import use_threads
from openreml_core.errors import DataError, ModelError, did_you_mean
from openreml_core.fit import MixedModelFit, Specification
from openreml_core.inference import NaturalEstimates, blup_frame, natural_estimates
from openreml_core.model import MixedModel
from openreml_core.notation import quote
from openreml_core.reml import OnIteration, Settings, TraceRow, maximise

RESPONSE = "y"


def fit_covariance(
    y: Any,
    X: Any,
    V: Any,
    *,
    method: str = "reml",
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    max_iterations: int = 100,
    step_multiplier: float = 1.0,
    tolerance: float | None = None,
    gradient_tolerance: float | None = None,
    verbose: bool | int = False,
    on_iteration: OnIteration | None = None,
    names: Sequence[str] | None = None,
) -> CovarianceFit:
    """Fit a tree of matrices by restricted maximum likelihood.

    Parameters
    ----------
    y : tensor, array or Series of shape (n,)
    X : tensor, array or DataFrame of shape (n, p)
        Fixed effects' design; columns that others determine are left out and named.
    V : Matrix of shape (n, n)
        Its parameters' values are where the search starts; variances without a value start from a share of y's variance.
    method : {"reml", "ml"}
    start, fixed : mapping of path to float, optional
        Natural values to start from; to hold.
    bounds : mapping of path to (float, float), optional
        Bounds of natural values.
    max_iterations : int
    step_multiplier : float
        What each step is multiplied by, in (0, 1]; below 1 the search is slower and steadier.
    tolerance : float, optional
        Log-likelihood that a further step may still promise at the end; 1e-9.
    gradient_tolerance : float, optional
        Largest scaled gradient at the end; 1e-6.
    verbose : bool
        Print a line for each iteration to the error stream.
    on_iteration : callable, optional
        Called with each TraceRow; returning False cancels.
    names : sequence of str, optional
        Names of X's columns.

    Returns
    -------
    CovarianceFit
        A MixedModelFit, less what needs a formula. V itself is left as it was.

    Raises
    ------
    ModelError
        Sizes that do not fit, an unknown path, values outside their domain, a V that is not symmetric or, at the starting
        values, not positive definite.

    Examples
    --------
    >>> import openreml_core as reml
    >>> from openreml_core.covariance import Dummy, Identity, Kronecker, Propagated, Scaled, Sum
    >>> d = reml.load_sample("john_alpha")
    >>> V = Sum(
    ...     gen=Propagated(Dummy(d["gen"]), Scaled(24)),
    ...     block=Propagated(Dummy(d["rep"], d["block"]), Kronecker(Identity(3), Scaled(6))),
    ...     residual=Scaled(72),
    ... )
    >>> fit = reml.fit_covariance(d["yield"], Dummy(d["rep"])(), V)
    >>> {path: round(value, 4) for path, value in fit.parameters.items()}
    {'gen/sigma2': 0.1429, 'block/sigma2': 0.0702, 'residual/sigma2': 0.0816}
    """
    began = time.perf_counter()
    if method not in ("reml", "ml"):
        raise ModelError(f"method={method!r} is not known.", hint="Choose 'reml' or 'ml'.")
    settings = _settings(step_multiplier, tolerance, gradient_tolerance, max_iterations)
    design = _design(y, X, names)
    n = len(design.y)
    tree = copy.deepcopy(as_matrix(V))
    if tree.shape != (n, n):
        raise ModelError(
            f"V is {tree.shape[0]} x {tree.shape[1]}, y has {n} values.", hint=f"V needs a row and a column for each: {n}."
        )
    for path, ends in (bounds or {}).items():
        low, high = _ends(path, ends)
        value = (start or {}).get(path, (fixed or {}).get(path, tree.parameters[path].value if path in tree.parameters else 0))
        tree.set(path, value=min(max(float(value), low), high), lower=low, upper=high)
    for path, value in (start or {}).items():
        tree.set(path, value=value)
    for path, value in (fixed or {}).items():
        tree.set(path, value=value, fixed=True)
    model = _model(design, tree, method)
    _check_symmetric(tree, model)
    use_threads(n)
    estimates = maximise(
        MarginalEngine(model),
        model.components[0].structure.start(torch.ones(n, dtype=torch.float64)),
        max_iterations=max_iterations,
        on_iteration=_told(on_iteration) if verbose else on_iteration,
        settings=settings,
    )
    specification = Specification(formula="y ~ X, V by hand", method=method, max_iterations=max_iterations)
    return CovarianceFit(specification, design, estimates, time.perf_counter() - began)


class CovarianceFit(MixedModelFit):
    """The estimates of y = X b + e, e ~ N(0, V(theta)), V a tree of matrices; what needs a formula is refused in words."""

    @property
    def tree(self) -> Matrix:
        """The tree, its parameters set to the estimates."""
        return self._estimated

    @cached_property
    def _estimated(self) -> Matrix:
        tree = copy.deepcopy(self._structure.tree)
        for path, value in self.parameters.items():
            tree.set(path, value=value)
        return tree

    @property
    def _structure(self) -> Any:
        return self._model.components[0].structure

    @property
    def _addends(self) -> dict[str, Matrix]:
        """The parts of V: the operands of a Sum on top, or the whole."""
        tree = self._structure.tree
        return dict(tree.operands) if isinstance(tree, Sum) else {"V": tree}

    @property
    def random_terms(self) -> tuple[str, ...]:
        """Names of the parts Z G Z', whose effects are predicted."""
        return tuple(name for name, node in self._addends.items() if isinstance(node, Propagated))

    @property
    def n_parameters(self) -> int:
        """Fixed effects and free parameters of the tree."""
        return self._model.p + self._structure.n_parameters

    @cached_property
    def _matrices(self) -> dict[str, Tensor]:
        return self._structure.tree.tree(self.estimates.at.theta)

    @property
    def sigma(self) -> float:
        """Standard deviation of the average row by the parts that are no Z G Z'."""
        rest = [name for name in self._addends if name not in self.random_terms]
        whole = [self._matrices[name if isinstance(self._structure.tree, Sum) else ""] for name in rest]
        return math.sqrt(sum(float(m.diagonal().mean()) for m in whole)) if whole else 0.0

    @property
    def parameters(self) -> dict[str, float]:
        """Natural values of all parameters by path, held ones too."""
        return self._structure.tree.natural(self.estimates.at.theta)

    @cached_property
    def _natural(self) -> NaturalEstimates:
        return natural_estimates(self.estimates)

    @cached_property
    def _singular_terms(self) -> tuple[str, ...]:
        marked = zip(self._natural.names, self._natural.bounds, strict=True)
        return tuple(dict.fromkeys(path.split("/")[0] for path, mark in marked if mark in ("at zero", "at its bound")))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know before the numbers are used."""
        out = list(self.design.warnings)
        if not self.converged:
            out.insert(0, self.message)
        for path, mark in zip(self._natural.names, self._natural.bounds, strict=True):
            if mark == "at zero":
                out.append(f"{path} is estimated as zero: in these data it explains nothing beyond the other parts of V.")
            elif mark == "at its bound":
                out.append(f"{path} is estimated at its bound: the likelihood rises towards it.")
            elif mark:
                out.append(f"{path} cannot be estimated: these data say nothing about it.")
        return tuple(out)

    def variance_components(self) -> pd.DataFrame:
        """Parameters of the tree, a row each: group is the first step of the path, name1 the rest."""
        natural, tree = self._natural, self._structure.tree
        errors = dict(zip(natural.names, np.sqrt(np.diag(natural.covariance)), strict=True))
        bounds = dict(zip(natural.names, natural.bounds, strict=True))
        shares = self._shares()
        rows = []
        for path, p in tree.parameters.items():
            group, _, rest = path.rpartition("/")[0].partition("/")
            value = self.parameters[path]
            rows.append(
                {
                    "group": group or "V",
                    "structure": self._addends[group].title if group in self._addends else tree.title,
                    "name1": "/".join(s for s in (rest, p.name) if s),
                    "name2": "",
                    "kind": p.kind,
                    "estimate": value,
                    "std_error": errors.get(path, np.nan),
                    "std_dev": math.sqrt(value) if p.kind.endswith("variance") and value >= 0 else np.nan,
                    "percent": shares.get(path, np.nan),
                    "bound": "held" if p.fixed else bounds.get(path, ""),
                }
            )
        return pd.DataFrame(rows)

    def _shares(self) -> dict[str, float]:
        """Share of the average row's variance, of the parts that have one parameter and scale with it."""
        total = float(self._matrices[""].diagonal().mean())
        out = {}
        for name, node in self._addends.items():
            own = [path for path in self.parameters if path.startswith(f"{name}/")]
            variances = [path for path in own if self._structure.tree.parameters[path].kind == "variance"]
            if isinstance(self._structure.tree, Sum) and len(variances) == 1 and node is not None:
                out[variances[0]] = 100 * float(self._matrices[name].diagonal().mean()) / total
        return out

    def variance_matrix(self, term: str = "") -> pd.DataFrame:
        """A node's matrix at the estimates, by its path in the tree (``"gen"``, ``"gen/G"``); V itself for ``""``."""
        if term not in self._matrices:
            raise ModelError(f"*{term}* is no node of this tree.", hint=did_you_mean(term, list(self._matrices)))
        return pd.DataFrame(self._matrices[term].numpy())

    def random_effects(self, term: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """BLUPs u^ = G Z'P y of a part Z G Z', with Var[u | y] = G - G Z'V^-1 Z G at the estimated b."""
        name = self.random_terms[self._position(term)]
        at: Any = self.estimates.at
        z, g = self._matrices[f"{name}/Z"], self._matrices[f"{name}/G"]
        zg = z @ g
        blup = zg.T @ at.project(self._model.centred[:, None])
        conditional = g - zg.T @ at.v_inverse @ zg
        prediction = g - zg.T @ at.project(zg)
        node = self._addends[name].operands["Z"]
        levels = getattr(node, "levels", None) or [str(i + 1) for i in range(z.shape[1])]
        return blup_frame(
            np.array([str(v) for v in levels], dtype=object),
            np.full(len(levels), "(Intercept)", dtype=object),
            blup[:, 0].numpy(),
            conditional.diagonal().numpy(),
            prediction.diagonal().numpy(),
            g.diagonal().numpy(),
            level,
        )

    def fitted(self, random: bool = True) -> pd.Series:
        """X b, and Z u^ of every part Z G Z' with it when ``random``."""
        at: Any = self.estimates.at
        values = self._model.X @ at.beta
        if random:
            py = at.project(self._model.centred[:, None])[:, 0]
            for name in self.random_terms:
                values = values + self._matrices[name] @ py
        return pd.Series(values.numpy(), index=self.design.index, name="fitted")

    def save(self, path: Any) -> None:
        """A tree may hold functions, which no file of this kind keeps."""
        raise ModelError("A fit of a tree built by hand is not saved.", hint="Keep the script that builds it.")

    def to_code(self, language: str = "python") -> str:
        """There is no formula to write code from."""
        raise ModelError("A tree built by hand has no formula to write code from.", hint="Keep the script that builds it.")


def _design(y: Any, X: Any, names: Sequence[str] | None) -> Any:
    values = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y, dtype=float)
    matrix = X() if isinstance(X, Matrix) else X
    table = np.asarray(matrix.detach().cpu() if isinstance(matrix, Tensor) else matrix, dtype=float)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"y has the shape {values.shape}.", hint="Give one value for each row.")
    if table.ndim != 2 or len(table) != len(values):
        raise DataError(f"X has the shape {table.shape}, y has {len(values)} values.", hint="Give X a row for each value of y.")
    for what, held in (("y", values[:, None]), ("X", table)):
        if not np.isfinite(held).all():
            row = int(np.flatnonzero(~np.isfinite(held).all(axis=1))[0])
            raise DataError(f"{what} is not a number in row {row + 1}.", hint="Leave such rows out of y, X and V.")
    if names is None:
        names = [str(c) for c in X.columns] if isinstance(X, pd.DataFrame) else [f"x{j + 1}" for j in range(table.shape[1])]
    if len(names) != table.shape[1] or len(set(names)) != len(names):
        raise DataError(f"{len(names)} names are given for {table.shape[1]} columns of X.", hint="Give each its own name.")
    index = y.index if isinstance(y, pd.Series) else None
    frame = pd.DataFrame(table, columns=[f"x.{name}" for name in names], index=index)
    frame.insert(0, RESPONSE, values)
    fixed = " + ".join(quote(f"x.{name}") for name in names)
    design = build_design(f"{RESPONSE} ~ 0 + {fixed}" if names else f"{RESPONSE} ~ 0", frame)
    return replace(
        design,
        fixed_names=tuple(n.removeprefix("x.") for n in design.fixed_names),
        aliased=tuple(n.removeprefix("x.") for n in design.aliased),
    )


def _model(design: Any, tree: Matrix, method: str) -> MixedModel:
    """The model; variances that nobody gave a value share the variance that X leaves."""
    y, x = torch.from_numpy(np.asarray(design.y, dtype=np.float64)), torch.from_numpy(np.array(design.X, dtype=np.float64))
    plain = MixedModel(y, x, tuple(design.fixed_names), (), (), method, profiled=False)
    parameters = tree.parameters
    unknown = [path for path, p in parameters.items() if p.kind.endswith("variance") and not p.given and not p.fixed]
    share = plain.typical_deviation**2 / max(len(unknown), 1)
    if not share > 0:
        raise DataError("X reproduces y exactly: nothing is left for variances.", hint="Leave columns of X out.")
    values = {path: p.value * share if path in unknown else p.value for path, p in parameters.items()}
    whole = WholeCovariance(tree, tree.theta(values))
    if whole.structure.n_parameters == 0:
        raise ModelError("V has no free parameter.", hint="Give it one, such as Scaled(n), or free one by set(..., fixed=False).")
    return MixedModel(y, x, tuple(design.fixed_names), (), (whole,), method, profiled=False)


def _check_symmetric(tree: Matrix, model: MixedModel) -> None:
    structure = model.components[0].structure
    v = structure.matrix(structure.start(torch.ones(model.n, dtype=torch.float64)))
    if not bool(torch.isfinite(v).all()):
        raise ModelError(
            f"{int((~torch.isfinite(v)).sum())} of {v.numel()} elements of V are not numbers at the starting values.",
            hint="Give other starting values.",
        )
    if not torch.allclose(v, v.T, rtol=1e-9, atol=1e-12 * float(v.abs().max())):
        row, column = divmod(int((v - v.T).abs().argmax()), model.n)
        raise ModelError(
            f"V is not symmetric: rows {row + 1} and {column + 1} differ by {float((v - v.T).abs().max()):.3g}.",
            hint="Build it from symmetric parts: Propagated, Gram, or a sum with its transpose.",
        )


def _settings(multiplier: Any, gain: Any, gradient: Any, limit: Any) -> Settings:
    if isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 0:
        raise ModelError(f"max_iterations={limit!r} is no number of iterations.", hint="Give a whole number such as 100.")
    usual = Settings()
    for name, value in (("step_multiplier", multiplier), ("tolerance", gain), ("gradient_tolerance", gradient)):
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise ModelError(f"{name}={value!r} is not above zero.", hint="Give a positive number.")
    if multiplier > 1:
        raise ModelError(f"step_multiplier={multiplier!r} goes beyond the whole step.", hint="Give a number up to 1.")
    return Settings(usual.gain if gain is None else gain, usual.gradient if gradient is None else gradient, float(multiplier))


def _ends(path: str, ends: Any) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in ends)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise ModelError(f"The bounds of {path} are {ends!r}.", hint="Give a lower and an upper one, such as (0, 1).")
    return low, high


def _told(also: OnIteration | None) -> Callable[[TraceRow], object]:
    def tell(row: TraceRow) -> object:
        values = "  ".join(f"{name} {value:.5g}" for name, value in row.parameters.items())
        print(f"{row.iteration:3d}  criterion {row.criterion:.6f}  gradient {row.gradient:.1e}  {values}", file=sys.stderr)
        return also(row) if also is not None else None

    return tell
