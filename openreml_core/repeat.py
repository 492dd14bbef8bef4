"""Work that repeats, such as refits: in this process, or handed to an executor.

An executor is anything with the ``submit`` of :mod:`concurrent.futures`: a pool of processes or threads, MPI's, or
``dask.distributed.Client(...).get_executor()``. The workers use one thread each, so that they do not fight for cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import BrokenExecutor
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from openreml_core.engines.threads import renew_threads, stay_on_one_thread
from openreml_core.errors import ModelError, RepeatCancelled

Task = TypeVar("Task")
Result = TypeVar("Result")
OnDone = Callable[[int, Any], object]


class Executor(Protocol):
    """What is asked of an executor."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """A future: ``result()``, ``cancel()``, ``add_done_callback()``."""


def run_all(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    executor: Executor | None = None,
    on_done: OnDone | None = None,
) -> list[Result]:
    """Call a function with every task.

    Parameters
    ----------
    function : callable of one task
        With an executor of processes it is a function of a module, or a ``functools.partial`` of one.
    tasks : iterable
    executor : Executor, optional
        Who runs them; one after the other in this process without one.
    on_done : callable of (place, result), optional
        Called here, in this thread, as tasks end, in whatever order; returning False cancels the rest.

    Returns
    -------
    list
        The results in the order of the tasks.

    Raises
    ------
    RepeatCancelled
        When ``on_done`` returned False; the results that there are come with it.
    ModelError
        The executor cannot run anything, or a worker process died. What ``function`` raises passes through, and ends
        the rest.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as executor:
    ...     run_all(abs, [-3, 2, -1], executor)
    [3, 2, 1]
    """
    tasks = list(tasks)
    results: dict[int, Result] = {}

    def ended(place: int, result: Result) -> None:
        results[place] = result
        if on_done is not None and on_done(place, result) is False:
            raise RepeatCancelled(results, len(tasks))

    if executor is None:
        for place, task in enumerate(tasks):
            ended(place, function(task))
    else:
        _hand_out(function, tasks, executor, ended)
    return [results[place] for place in range(len(tasks))]


def in_portions(
    function: Callable[[Task], list[Any]], portions: Iterable[tuple[Task, int]], executor: Executor | None = None
) -> Generator[list[Any], None, None]:
    """What a function gives for each portion of many small pieces of work, in their order.

    Parameters
    ----------
    function : callable of one portion
        Returns a list with a result for each of its pieces.
    portions : iterable of (portion, int)
        With the number of pieces of each.
    executor : Executor, optional

    Yields
    ------
    list
        Of a portion whose worker failed a text in place of every result: the others stand.

    Raises
    ------
    ModelError
        The executor takes no work.
    """
    if executor is None:
        for portion, _ in portions:
            yield function(portion)
        return
    _check(executor)
    tasks = [(_submitted(executor, function, portion), count) for portion, count in portions]
    try:
        for task, count in tasks:
            try:
                yield task.result()
            except Exception as error:
                yield [f"its task ended with {type(error).__name__}: {error}".rstrip(": ")] * count
    finally:
        for task, _ in tasks:
            task.cancel()
        renew_threads()


def workers_of(executor: Executor | None) -> int:
    """How many tasks an executor runs at a time; as many as there are cores where it does not say."""
    if executor is None:
        return 1
    return int(getattr(executor, "_max_workers", None) or os.cpu_count() or 1)


def _hand_out(
    function: Callable[[Task], Result], tasks: list[Task], executor: Executor, ended: Callable[[int, Result], None]
) -> None:
    _check(executor)
    finished: SimpleQueue[int] = SimpleQueue()
    futures: list[Any] = []
    try:
        for place, task in enumerate(tasks):
            futures.append(future := _submitted(executor, function, task))
            future.add_done_callback(lambda _, place=place: finished.put(place))
        for _ in tasks:
            place = finished.get()
            ended(place, futures[place].result())
    except BrokenExecutor as error:
        raise ModelError(
            f"A worker of the executor ended before its work was done ({error}).",
            hint="It may have run out of memory. A script that opens a process pool does so under "
            "`if __name__ == '__main__':`.",
        ) from None
    finally:
        for future in futures:
            future.cancel()
        renew_threads()


def _check(executor: Executor) -> None:
    if not callable(getattr(executor, "submit", None)):
        raise ModelError(
            f"executor={executor!r} cannot be given work.",
            hint="Give a concurrent.futures executor, such as ProcessPoolExecutor(), or none.",
        )


def _submitted(executor: Executor, function: Callable[[Task], Result], task: Task) -> Any:
    try:
        return executor.submit(_alone, function, task)
    except BrokenExecutor:
        raise
    except RuntimeError as error:
        raise ModelError(f"The executor takes no work: {error}.", hint="Give one that is not shut down.") from None


def _alone(function: Callable[[Task], Result], task: Task) -> Result:
    """A task in a worker."""
    stay_on_one_thread()
    return function(task)
