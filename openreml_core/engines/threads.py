"""The one place where torch's number of threads is set.

Small matrices are faster on one thread: waking the others costs more than they bring, and on a busy machine they wait
for each other.
"""

from __future__ import annotations

import os

import torch

SMALL = 400


def use_threads(rows: int) -> None:
    """Let torch use one thread for matrices of few rows, and every core for larger ones."""
    wanted = 1 if rows < SMALL else (os.cpu_count() or 1)
    if torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)
