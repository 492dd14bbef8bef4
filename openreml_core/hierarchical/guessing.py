"""Which columns of a table hold what a model reads."""

from __future__ import annotations

import re

import pandas as pd

from openreml_core.hierarchical.models.base import LibraryModel

SUBJECT = "subject"
#: What else columns are called, letters only; the likelier names first.
SYNONYMS = {
    SUBJECT: ("subj", "sub", "subjid", "subjectid", "participant", "participantid", "ppt", "id", "pid", "person", "animal"),
    "choice": ("chosen", "action", "option", "response", "resp", "key", "keyresponse", "decision"),
    "reward": ("outcome", "feedback", "payoff", "points", "win", "won"),
    "choice1": ("firstchoice", "stage1choice", "action1", "stim1"),
    "choice2": ("secondchoice", "stage2choice", "action2", "stim2"),
    "state": ("state2", "secondstate", "stage2state"),
    "response": ("resp", "answer", "choice", "yes", "accuracy", "correct"),
    "signal": ("stimulus", "target", "present", "stim", "old"),
    "time": ("rt", "reactiontime", "responsetime", "latency"),
    "certain": ("cert", "sure", "safe"),
    "amount_sooner": ("amountss", "ssamount", "amountsoon", "sooneramount"),
    "amount_later": ("amountll", "llamount", "lateramount"),
    "delay_sooner": ("delayss", "ssdelay", "delaysoon", "soonerdelay"),
    "delay_later": ("delayll", "lldelay", "laterdelay"),
    "y": ("response", "value", "outcome"),
}  # fmt: skip


def guess_columns(model: LibraryModel, table: pd.DataFrame) -> dict[str, str]:
    """The column of subjects, and of each role of the model, where the table has one that sounds like it.

    Parameters
    ----------
    model : LibraryModel
    table : DataFrame

    Returns
    -------
    dict of str to str
        ``{"subject": "participant_id", "choice": "Choice", ...}``; a role that nothing sounds like is not in it.

    Examples
    --------
    >>> from openreml_core.hierarchical.models import RescorlaWagner
    >>> guess_columns(RescorlaWagner(), pd.DataFrame({"ID": [1], "Choice": [0], "outcome": [1]}))
    {'subject': 'ID', 'choice': 'Choice', 'reward': 'outcome'}
    """
    letters = {str(c): re.sub(r"[^a-z0-9]", "", str(c).lower()) for c in table.columns}
    found: dict[str, str] = {}
    roles = [SUBJECT, *model.roles]
    for exact in (True, False):
        for role in roles:
            names = [re.sub(r"[^a-z0-9]", "", role.lower())] if exact else list(SYNONYMS.get(role, ()))
            taken = set(found.values())
            match = next((c for n in names for c, word in letters.items() if word == n and c not in taken), None)
            if role not in found and match is not None:
                found[role] = match
    return {role: found[role] for role in roles if role in found}
