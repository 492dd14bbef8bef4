"""How long hierarchical models take: ``python tests/benchmarks/hierarchical.py [--repeats 3] [--slow]``.

Rescorla-Wagner, 50 and 500 subjects of 200 trials. ``--slow`` adds the Python way, a subject at a time, by joblib. Exits with 1
if a median is over its bar. Wall time and the processor's time are both printed: on a busy machine only the second is the fit's.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable

BARS = {50: 1.0, 500: 5.0}  # seconds
TRIALS = 200


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def q_learning(parameters, trials) -> float:
    alpha, beta = parameters
    q, total = [0.0, 0.0], 0.0
    for c, r in zip(trials["choice"].tolist(), trials["reward"].tolist(), strict=True):
        total -= math.log1p(math.exp(beta * (q[1 - c] - q[c])))
        q[c] += alpha * (r - q[c])
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slow", action="store_true")
    request = parser.parse_args()

    from openreml_core import hierarchical

    model = hierarchical.models.RescorlaWagner()
    print(f"{'way':8s} {'subjects':>8s} {'median s':>9s} {'cpu s':>7s} {'bar s':>6s} {'iterations':>10s}")
    late = False
    for n, bar in BARS.items():
        data = model.simulate(n_subjects=n, n_trials=TRIALS, seed=1)
        hierarchical.fit(model, data, max_iterations=1)  # warm
        times = [seconds(lambda data=data: hierarchical.fit(model, data)) for _ in range(request.repeats)]
        wall, cpu = (statistics.median(t[k] for t in times) for k in (0, 1))
        made = hierarchical.fit(model, data)
        print(f"{'torch':8s} {n:8d} {wall:9.2f} {cpu:7.2f} {bar:6.1f} {len(made.trace) - 1:10d}")
        late |= wall > bar
        if request.slow:
            slow = hierarchical.PythonModel(q_learning, model.parameters, columns=["choice", "reward"])
            wall, cpu = seconds(lambda data=data, slow=slow: hierarchical.fit(slow, data))
            print(f"{'python':8s} {n:8d} {wall:9.2f} {cpu:7.2f}")
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
