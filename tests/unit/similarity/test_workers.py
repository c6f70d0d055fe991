import time
import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from hrsa.similarity import workers as module
from hrsa.similarity.cka_cells import cka_cells
from hrsa.similarity.layer_stack import LayerStack, array_reader
from hrsa.similarity.workers import workers
from hrsa.statistics.blocks import block_order


@pytest.fixture(params=[1, 3])
def processors(request, monkeypatch):
    """As if matrix products had so many processors."""
    monkeypatch.setattr(module, "_processors", lambda: request.param)
    return request.param


def test_results_come_in_the_order_of_the_tasks(processors):
    def slow_if_early(task):
        time.sleep(0.02 / (task + 1))
        return task

    with workers() as in_order:
        assert list(in_order(slow_if_early, range(7))) == list(range(7))


def test_few_tasks_are_begun_ahead_of_the_result_that_is_waited_for(processors):
    begun = []
    with workers() as in_order:
        next(iter(in_order(abs, (begun.append(task) or task for task in range(100)))))
    assert len(begun) <= processors + 1


def test_an_error_in_a_task_reaches_the_caller(processors):
    def fail(task):
        raise ValueError(f"task {task}")

    with pytest.raises(ValueError, match="task 0"), workers() as in_order:
        list(in_order(fail, range(3)))


def n_threads():
    return [one["num_threads"] for one in module._libraries().select(user_api="blas").info()]


def test_products_inside_use_one_processor_and_as_many_as_before_outside():
    with threadpool_limits(2):
        before = n_threads()
        with workers():
            assert set(n_threads()) == {1}
        assert n_threads() == before


def test_uses_that_overlap_lift_the_limit_when_the_last_one_ends():
    with threadpool_limits(2):
        before = n_threads()
        first, second = workers(), workers()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(n_threads()) == {1}
        second.__exit__(None, None, None)
        assert n_threads() == before


@pytest.mark.parametrize("route", ["grams", "products"])
def test_cka_is_the_same_to_the_last_bit_with_any_number_of_threads(monkeypatch, route):
    rng = np.random.default_rng(0)
    samples = np.arange(600) // 7
    order = block_order(samples, len(samples))
    stacks = [
        LayerStack(
            [array_reader(rng.standard_normal((600, 40))) for _ in range(3)],
            order,
            dtype=np.float32,
            memory=2**30,
        )
        for _ in range(2)
    ]
    found = []
    for n_processors in (1, 4):
        monkeypatch.setattr(module, "_processors", lambda n=n_processors: n)
        found.append(cka_cells(*stacks, route=route, device="cpu").sample_debiased)
    np.testing.assert_array_equal(found[0].values, found[1].values)
    np.testing.assert_array_equal(found[0].replicates, found[1].replicates)


@pytest.mark.parametrize("route", ["grams", "products"])
def test_many_processors_take_no_more_than_the_memory_that_is_given(monkeypatch, route):
    monkeypatch.setattr(module, "_processors", lambda: 16)
    memory = 2**24
    rng = np.random.default_rng(0)
    samples = np.arange(6000) // 200
    stacks = [
        LayerStack(
            [array_reader(rng.standard_normal((6000, 24)).astype(np.float32)) for _ in range(4)],
            block_order(samples, len(samples)),
            dtype=np.float32,
            memory=0,
        )
        for _ in range(2)
    ]
    tracemalloc.start()
    try:
        cka_cells(*stacks, route=route, device="cpu", memory=memory)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < memory
