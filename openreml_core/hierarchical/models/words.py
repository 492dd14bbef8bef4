"""What the parameters and the columns of the library's models mean, in words for those who choose among them."""

from __future__ import annotations

import math

import pandas as pd

from openreml_core.covariance.transforms import Transform
from openreml_core.errors import ModelError, did_you_mean
from openreml_core.hierarchical.models.base import LibraryModel

PARAMETERS = {
    "learning_rate": "How far a value moves towards what was met: 0 learns nothing, 1 remembers the last outcome only.",
    "learning_rate_positive": "The learning rate where things went better than expected.",
    "learning_rate_negative": "The learning rate where things went worse than expected.",
    "inverse_temperature": "How strictly choices follow values: 0 is chance, large is always the better option.",
    "gain_sensitivity": "How much a gain counts; it takes the place of the inverse temperature.",
    "loss_sensitivity": "How much a loss counts.",
    "stickiness": "Whether the choice before is repeated (positive) or avoided (negative), whatever it paid.",
    "inverse_temperature1": "How strictly first choices follow values.",
    "inverse_temperature2": "How strictly second choices follow values.",
    "trace": "How far the reward at the end reaches back to the first choice: 0 not at all, 1 wholly.",
    "model_weight": "Share of planning by a model of the task: 0 is habit only, 1 is planning only.",
    "sensitivity": "d': how well signal and noise are told apart; 0 is chance.",
    "criterion": "c: positive says no more readily, negative says yes more readily.",
    "risk_curvature": "Curvature of utility: below 1 large amounts count less than in proportion (risk aversion in gains).",
    "loss_aversion": "How much more a loss counts than a gain of the same size; 1 is neither.",
    "discount_rate": "How fast an amount loses value per unit of delay; 0 waits for ever.",
    "memory": "How much of what was seen is kept from trial to trial: 1 forgets nothing.",
    "uncertainty_bonus": "Whether what is little known attracts (positive) or repels (negative).",
    "drift": "How fast evidence for the upper response builds up; negative favours the lower.",
    "boundary": "How much evidence is asked for: larger is slower and more accurate.",
    "nondecision_time": "Seconds for seeing and moving, outside of the decision.",
    "starting_point": "Where evidence starts between the lower (0) and the upper (1) response; 0.5 has no bias.",
    "constant": "What the series adds in each step.",
    "sigma": "Standard deviation of what the model does not explain.",
    "intercept": "The response where all predictors are zero.",
}

COLUMNS = {
    "choice": "the option taken",
    "reward": "what it paid",
    "choice1": "the first choice, 0 or 1",
    "state": "where it led, 0 or 1",
    "choice2": "the second choice, 0 or 1",
    "response": "the answer, 0 or 1",
    "signal": "1 where there was a signal, else 0",
    "time": "response time in seconds",
    "gain": "what the gamble may win",
    "loss": "what it may lose, a positive number",
    "certain": "the certain amount",
    "amount_sooner": "amount of the sooner offer",
    "amount_later": "amount of the later offer",
    "delay_sooner": "delay of the sooner offer",
    "delay_later": "delay of the later offer",
    "y": "the response",
}

#: Where a column means something else than its name does elsewhere.
OWN_COLUMNS = {
    ("DriftDiffusion", "response"): "1 the upper boundary, 0 the lower",
    ("SignalDetection", "response"): "1 for yes, 0 for no",
    ("ProspectTheory", "choice"): "1 for the gamble, 0 for the certain amount",
    ("Discounting", "choice"): "1 for the later offer, 0 for the sooner",
    ("BayesianLearner", "reward"): "what it paid, 0 or 1",
    ("AutoRegressive", "y"): "the series, in the order of time",
}


def scale_words(transform: Transform) -> str:
    """The values that a transform reaches: ``"0 to 1"``, ``"positive"``, ``"any number"``."""
    low, high = transform.domain
    if low == -math.inf and high == math.inf:
        return "any number"
    if high == math.inf:
        return "positive" if low == 0 else f"above {low:g}"
    return f"below {high:g}" if low == -math.inf else f"{low:g} to {high:g}"


def describe(model: LibraryModel) -> pd.DataFrame:
    """A row per parameter: parameter, meaning, scale in words, start (native).

    Examples
    --------
    >>> from openreml_core.hierarchical.models import RescorlaWagner
    >>> describe(RescorlaWagner())["scale"].tolist()
    ['0 to 1', 'positive']
    """
    rows = []
    for p in model.parameters:
        meaning = PARAMETERS.get(p.name, "")
        if p.name in getattr(model, "predictors", ()):
            meaning = f"What one unit of {p.name} adds."
        elif p.name.startswith("lag"):
            meaning = f"How much of the value {p.name.removeprefix('lag')} before is carried on."
        rows.append((p.name, meaning, scale_words(p.transform), 0.0 if p.start is None else p.start))
    return pd.DataFrame(rows, columns=["parameter", "meaning", "scale", "start"])


def column_meaning(model: LibraryModel, role: str) -> str:
    """What a column of the model holds.

    Raises
    ------
    ModelError
        For no column of the model.

    Examples
    --------
    >>> from openreml_core.hierarchical.models import DriftDiffusion, RescorlaWagner
    >>> column_meaning(RescorlaWagner(n_options=3), "choice"), column_meaning(DriftDiffusion(), "response")
    ('the option taken, 0 to 2', '1 the upper boundary, 0 the lower')
    """
    if role not in model.roles:
        raise ModelError(f"The model has no column *{role}*.", hint=did_you_mean(role, list(model.roles)))
    if role in getattr(model, "predictors", ()):
        return "a predictor, a number"
    words = OWN_COLUMNS.get((type(model).__name__, role)) or COLUMNS[role]
    options = getattr(model, "n_options", None)
    if role == "choice" and options is not None:
        words += ", 0 or 1" if options == 2 else f", 0 to {options - 1}"
    family = getattr(model, "family", None)
    if role == "y" and family in ("binomial", "poisson"):
        words += ", 0 or 1" if family == "binomial" else ", a count"
    return words
