"""What a model of one subject is: parameters, and the log-likelihood of that subject's trials.

    log p(trials_i | h_i),   native parameters h_i

The fast way is a torch function over a batch of subjects; the slow way is any Python function of one subject's table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from openreml_core.errors import ModelError
from openreml_core.hierarchical.parameters import Parameter, as_parameters


class Model(Protocol):
    """What ``fit`` asks of a model.

    Attributes
    ----------
    name : str
    parameters : tuple of Parameter
        d of them, in the order in which ``log_likelihood`` gets their values.
    columns : tuple of str
        Columns of the trials that it reads; none means all that hold numbers.
    response : str or None
        The column that is modelled; a subject in whom it never changes is pointed out.
    batched : bool
        Whether ``log_likelihood`` takes ((B, d) tensor, Batch) and gives (B,), or ((d,) array, DataFrame) and gives a float.
    """

    name: str
    parameters: tuple[Parameter, ...]
    batched: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it reads."""

    @property
    def response(self) -> str | None:
        """The modelled column."""

    def log_likelihood(self, parameters: Any, trials: Any) -> Any:
        """Log-likelihood of the trials at native parameters."""


class FunctionModel:
    """A model of the user's own: a log-likelihood and what it needs.

    Parameters
    ----------
    log_likelihood : callable
    parameters : mapping of str to transform, or sequence of Parameter
    columns : sequence of str
        Columns of the trials that it reads.
    response : str, optional
        The modelled column.
    name : str, optional
        The function's name by default.
    """

    batched: ClassVar[bool]

    def __init__(
        self,
        log_likelihood: Callable[[Any, Any], Any],
        parameters: Any,
        *,
        columns: Sequence[str] = (),
        response: str | None = None,
        name: str | None = None,
    ) -> None:
        self.function, self.parameters = _callable(log_likelihood), as_parameters(parameters)
        self.columns, self.response = tuple(columns), response
        self.name = name or getattr(log_likelihood, "__name__", "model")

    def log_likelihood(self, parameters: Any, trials: Any) -> Any:
        """Log-likelihood of the trials at native parameters."""
        return self.function(parameters, trials)


class TorchModel(FunctionModel):
    """A model whose log-likelihood is a torch function of many subjects at once.

    Parameters
    ----------
    log_likelihood : callable
        ``f(parameters, batch)``: native parameters of shape (B, d) and a :class:`Batch` to a tensor of shape (B,), each
        element of its own row only. Trials behind a subject's last have to be left out: ``batch.mask`` (B, T).
    parameters : mapping of str to transform, or sequence of Parameter
    columns : sequence of str
        Columns of the trials that ``batch`` shall hold.
    response : str, optional
        The modelled column.
    name : str, optional
        The function's name by default.

    Examples
    --------
    Coins of unknown bias:

    >>> import torch
    >>> def coin(parameters, batch):
    ...     p = parameters[:, :1]
    ...     each = torch.where(batch["heads"] == 1, p.log(), (1 - p).log())
    ...     return (each * batch.mask).sum(1)
    >>> TorchModel(coin, {"bias": "logit"}, columns=["heads"]).name
    'coin'
    """

    batched = True


class PythonModel(FunctionModel):
    """A model whose log-likelihood is any Python function of one subject.

    Parameters
    ----------
    log_likelihood : callable
        ``f(parameters, table)``: an array of the d native parameters and one subject's DataFrame to a float.
    parameters, columns, response, name
        As for :class:`TorchModel`.

    Examples
    --------
    >>> import numpy as np
    >>> def coin(parameters, table):
    ...     return float(np.log(np.where(table["heads"] == 1, parameters[0], 1 - parameters[0])).sum())
    >>> [p.name for p in PythonModel(coin, {"bias": "logit"}).parameters]
    ['bias']
    """

    batched = False


def _callable(given: Any) -> Callable[..., Any]:
    if not callable(given):
        raise ModelError(
            f"A log-likelihood is a function, not {type(given).__name__}.", hint="Give f(parameters, trials)."
        )
    return given


def check_model(model: Any) -> None:
    """Refuse what is no model.

    Raises
    ------
    ModelError
    """
    needed = ("name", "parameters", "columns", "response", "batched", "log_likelihood")
    if isinstance(model, type) or not all(hasattr(model, n) for n in needed):
        hint = (
            f"Call it: {model.__name__}()." if isinstance(model, type) else "Use a TorchModel, a PythonModel or models."
        )
        raise ModelError(f"{model!r} is no model.", hint=hint)
