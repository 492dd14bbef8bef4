"""What the average information lacks, learnt from the search's own steps, so that where AI converges linearly it does not.

With s the last step, H the average information less the parameters' own curvature, z the score's fall over the step less H s,

    missing <- missing + r r' / r's,   r = z - missing s

the symmetric rank-one formula (Dennis, Gay and Welsch 1981, ACM Trans. Math. Software 7, 348-368, for least squares).
"""

from __future__ import annotations

import numpy as np

from openreml_core.reml.trust_region import Array

#: What is learnt must lie along the step (as a cosine), and leave this share of the average information everywhere.
ALIGNED, KEPT = 0.1, 0.2


def learnt(average: Array, missing: Array | None, step: Array, fall: Array) -> Array | None:
    """``missing`` (f, f) after a step, or as it was where the step tells nothing that can be trusted.

    Parameters
    ----------
    average : array of shape (f, f)
        H after the step, positive semidefinite.
    missing : array of shape (f, f), optional
        What is known to be missing so far.
    step, fall : array of shape (f,)
        The step, and by how much it lowered the score.
    """
    values, vectors = np.linalg.eigh(average)
    told = values > 1e-12 * values[-1]  # a variance at zero tells nothing
    root, back = vectors[:, told] / np.sqrt(values[told]), vectors[:, told] * np.sqrt(values[told])
    # In the metric of H: W'H W = I.
    known = np.zeros_like(average) if missing is None else missing
    r, s = root.T @ (fall - average @ step - known @ step), back.T @ step
    weight = float(r @ s)
    if abs(weight) < ALIGNED * float(np.linalg.norm(r) * np.linalg.norm(s)):
        return missing
    found = root.T @ known @ root + np.outer(r, r) / weight
    return back @ found @ back.T if 1 + np.linalg.eigvalsh(found)[0] > KEPT else missing
