"""When a fit may stop, and in which words.

Two things must hold: a further step promises next to nothing, and the gradient is as good as zero in units of the
parameters' own size. Both are free of the scale of y and of the covariates.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Log-likelihood that a further step may still promise.
GAIN = 1e-9
#: Largest |d l / d theta_k| times the size of theta_k.
GRADIENT = 1e-6
#: Change of the criterion below which a valley without end is level.
LEVEL = 1e-4


@dataclass(frozen=True)
class Verdict:
    """Whether and why the search ended.

    Attributes
    ----------
    converged : bool
    message : str
        A sentence for the user.
    """

    converged: bool
    message: str


def iterations(count: int) -> str:
    """``"1 iteration"``, ``"6 iterations"``."""
    return f"{count} iteration{'' if count == 1 else 's'}"


def optimum(count: int, gradient: float) -> Verdict:
    """Both tests hold."""
    return Verdict(
        True,
        f"Converged in {iterations(count)}. A further step would raise the log-likelihood by less than 1e-9; "
        f"the scaled gradient is {gradient:.0e}.",
    )


def rounding(count: int, gradient: float) -> Verdict:
    """The criterion no longer changes beyond rounding error though the gradient test is not met."""
    return Verdict(
        True,
        f"Converged in {iterations(count)}: steps no longer change the criterion beyond rounding error. "
        f"The scaled gradient is {gradient:.0e}.",
    )


def endless(count: int) -> Verdict:
    """A correlation goes to one and its variance up without end, and the criterion gains next to nothing any more."""
    return Verdict(
        True,
        f"Converged in {iterations(count)}: a correlation is as good as one, and steps towards it change the criterion by less "
        f"than {LEVEL:.0e}.",
    )


def settled_em(count: int, gain: float) -> Verdict:
    """EM has come so near that a Newton step would bring next to nothing."""
    return Verdict(
        True,
        f"Converged in {iterations(count)} of EM. A Newton step from here would raise the log-likelihood by "
        f"less than {max(gain, 1e-9):.0e}.",
    )


def exhausted(limit: int, gain: float, gradient: float, em: bool) -> Verdict:
    """The limit on iterations was met first."""
    advice = (
        "EM is slow where a variance is near zero or parameters are strongly related; "
        "algorithm 'ai-em' goes on from EM with average information."
        if em
        else "Raise the limit on iterations, or simplify the random part."
    )
    return Verdict(
        False,
        f"Not converged: {iterations(limit)} {'was' if limit == 1 else 'were'} not enough. A further step still promises "
        f"{gain:.1e} in log-likelihood; "
        f"the scaled gradient is {gradient:.0e}. {advice}",
    )


def stuck(count: int, gradient: float) -> Verdict:
    """No step, however short, raises the likelihood and the gradient is not zero."""
    return Verdict(
        False,
        f"Not converged: after {iterations(count)} no step raises the log-likelihood, yet the scaled gradient is {gradient:.0e}. "
        "Try other starting values, or simplify the random part.",
    )
