import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrsa.statistics.blocks import (
    balanced_blocks,
    block_order,
    sample_blocks,
    sample_codes,
    subset_of_samples,
)

sizes = st.lists(st.integers(1, 30), min_size=2, max_size=80)


def test_samples_are_numbered_in_order_of_first_appearance():
    assert sample_codes(["b", "a", "b", "c"], 4).tolist() == [0, 1, 0, 2]


def test_each_row_is_its_own_sample_by_default():
    assert sample_codes(None, 3).tolist() == [0, 1, 2]


def test_a_wrong_number_of_labels_is_refused():
    with pytest.raises(ValueError, match=r"each of the 4 rows, got shape \(3,\)"):
        sample_codes([1, 2, 3], 4)


def test_a_missing_label_is_refused():
    with pytest.raises(ValueError, match="no label at row 1"):
        sample_codes(np.array(["a", None], dtype=object), 2)


@given(sizes)
def test_blocks_are_whole_samples_and_about_equal(lengths):
    codes = np.repeat(np.arange(len(lengths)), lengths)
    blocks = balanced_blocks(codes)
    assert all(len(set(blocks[codes == code])) == 1 for code in range(len(lengths)))
    loads = np.bincount(blocks)
    assert len(loads) == min(25, len(lengths))
    assert loads.max() - loads.min() <= max(lengths)


def test_blocks_are_fixed_by_the_seed():
    codes = np.repeat(np.arange(50), 3)
    assert np.array_equal(balanced_blocks(codes, seed=1), balanced_blocks(codes, seed=1))
    assert not np.array_equal(balanced_blocks(codes, seed=1), balanced_blocks(codes, seed=2))


def test_blocks_that_cut_a_sample_are_refused():
    with pytest.raises(ValueError, match="sample of row 2 lies in blocks 0 and 1"):
        block_order(["a", "b", "a", "c"], 4, blocks=[0, 0, 1, 1])


def test_a_single_block_is_refused():
    with pytest.raises(ValueError, match="at least two blocks"):
        block_order(None, 3, blocks=[7, 7, 7])


@given(st.integers(0, 10_000))
def test_the_order_keeps_blocks_and_samples_together(seed):
    samples = np.random.default_rng(seed).integers(0, 40, 200)
    order = block_order(samples, 200, n_blocks=7)
    sorted_samples = samples[order.order]
    for start, size in zip(order.sample_starts, order.sample_sizes, strict=True):
        assert len(set(sorted_samples[start : start + size])) == 1
    assert order.n_samples == len(set(samples))
    assert set(order.block_starts) <= set(order.sample_starts)
    assert order.block_sizes.sum() == order.n_rows == 200
    assert np.array_equal(order.sample_starts[order.sample_block_starts], order.block_starts)


@given(sizes, st.integers(0, 100))
def test_subsets_are_whole_samples_and_nested(lengths, seed):
    codes = np.repeat(np.arange(len(lengths)), lengths)
    half = subset_of_samples(codes, len(codes) // 2, seed=seed)
    quarter = subset_of_samples(codes, len(codes) // 4, seed=seed)
    assert len(codes) // 2 <= half.sum() < len(codes) // 2 + max(lengths) + 1
    assert not (quarter & ~half).any()
    assert not set(codes[half]) & set(codes[~half])


def test_the_block_of_each_sample_is_told():
    samples = np.array([7, 3, 3, 7, 5, 9, 9])
    order = block_order(samples, len(samples), blocks=[1, 0, 0, 1, 1, 0, 0])
    found = sample_blocks(samples, order)
    assert found[:, 0].tolist() == [3, 5, 7, 9]
    blocks = dict(found.tolist())
    assert blocks[3] == blocks[9] != blocks[5] == blocks[7]
