"""What all tests share: the reference fits, the sample studies, and one thread setting for torch."""

from __future__ import annotations

import os
from pathlib import Path

# The data are small: more threads only make the timings vary. Set before torch reads it; programs that tests start see it too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests.reference import ABSENT, ROOT, Reference

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def reference() -> Reference:
    """The reference fits of other programs; the test is skipped where they are not at hand."""
    found = Reference()
    if not found.found():
        pytest.skip(ABSENT)
    return found


@pytest.fixture(scope="session")
def sample_dir() -> Path:
    """The folder of the sample studies."""
    return ROOT / "sample_data"
