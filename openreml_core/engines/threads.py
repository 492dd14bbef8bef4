"""The one place where torch's number of threads is set.

Small matrices are faster on one thread: waking the others costs more than they bring, and on a busy machine they wait
for each other.
"""

from __future__ import annotations

from contextvars import ContextVar

import torch

SMALL = 400
#: As many as torch began with: the cores, or fewer where OMP_NUM_THREADS says so.
MOST = torch.get_num_threads()
_alone: ContextVar[bool] = ContextVar("_alone", default=False)


def use_threads(rows: int) -> None:
    """Let torch use one thread for matrices of few rows, and all that it may for larger ones."""
    wanted = 1 if rows < SMALL or _alone.get() else MOST
    if torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)


def stay_on_one_thread() -> None:
    """Let torch use one thread from now on in this process, or in this thread of a pool: others work beside it."""
    _alone.set(True)
    torch.set_num_threads(1)


def renew_threads() -> None:
    """Set the number once more: the threads of a pool share part of torch's setting with the one that they serve."""
    torch.set_num_threads(torch.get_num_threads())
