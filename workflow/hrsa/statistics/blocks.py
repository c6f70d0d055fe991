"""Samples, blocks of samples, and the order of rows in which both are contiguous.

Tokens of one text are not independent; texts are. Every interval of the project therefore leaves
out or permutes whole samples, gathered in a fixed number of blocks of about equal size.
"""

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

N_BLOCKS = 25


def sample_codes(samples: npt.ArrayLike | None, n_rows: int) -> np.ndarray:
    """Number the samples of the rows 0, 1, … in order of first appearance.

    Parameters
    ----------
    samples : array-like of length ``n_rows``, or None
        The sample of each row, any labels in any order. None: each row is its own sample.
    n_rows : int
        Number of rows that the labels must cover.

    Returns
    -------
    numpy.ndarray of int64, shape (n_rows,)

    Raises
    ------
    ValueError
        When the length differs from ``n_rows`` or a label is missing.
    """
    if samples is None:
        return np.arange(n_rows, dtype=np.int64)
    labels = np.asarray(samples)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"samples must name the sample of each of the {n_rows} rows, got shape {labels.shape}"
        )
    codes, _ = pd.factorize(labels)
    if (codes < 0).any():
        raise ValueError(f"samples has no label at row {int(np.argmin(codes))}")
    return codes.astype(np.int64)


def balanced_blocks(codes: np.ndarray, *, n_blocks: int = N_BLOCKS, seed: int = 0) -> np.ndarray:
    """Gather whole samples in blocks of about equally many rows.

    The longest sample goes first, each to the block that is lightest so far; samples of one length
    are shuffled by ``seed``. The result depends on the samples' lengths and the seed alone, so that
    all models, layers and metrics share the blocks of one dataset.

    Parameters
    ----------
    codes : numpy.ndarray of int64, shape (n_rows,)
        Samples numbered from 0 (see `sample_codes`).
    n_blocks : int
        Wanted number of blocks; with fewer samples, each sample is a block.
    seed : int
        Order among samples of equal length.

    Returns
    -------
    numpy.ndarray of int64, shape (n_rows,)
        Block of each row.
    """
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    longest_first = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    load = [(0, block) for block in range(min(n_blocks, len(sizes)))]
    block_of_sample = np.empty(len(sizes), dtype=np.int64)
    for sample in longest_first:
        rows, block = heapq.heappop(load)
        block_of_sample[sample] = block
        heapq.heappush(load, (rows + int(sizes[sample]), block))
    return block_of_sample[codes]


def check_blocks(blocks: npt.ArrayLike, codes: np.ndarray) -> np.ndarray:
    """Number blocks that were given by hand, and refuse those that cut a sample.

    Parameters
    ----------
    blocks : array-like of length n_rows
        Block of each row, any labels.
    codes : numpy.ndarray of int64, shape (n_rows,)
        Sample of each row.

    Returns
    -------
    numpy.ndarray of int64, shape (n_rows,)
        Blocks numbered from 0 in order of first appearance.

    Raises
    ------
    ValueError
        When the length is wrong, fewer than two blocks are given, or a sample lies in two blocks.
    """
    labels = np.asarray(blocks)
    if labels.shape != codes.shape:
        raise ValueError(
            f"blocks must give the block of each of the {len(codes)} rows, got shape {labels.shape}"
        )
    numbered = sample_codes(labels, len(codes))
    if numbered.max() < 1:
        raise ValueError(f"blocks must hold at least two blocks, all rows are in {labels[0]}")
    first = np.empty(codes.max() + 1, dtype=np.int64)
    first[codes[::-1]] = numbered[::-1]
    cut = np.flatnonzero(numbered != first[codes])
    if len(cut):
        row, earlier = cut[0], np.argmax(codes == codes[cut[0]])
        raise ValueError(
            f"blocks must be made of whole samples, but the sample of row {row} lies in blocks "
            f"{labels[earlier]} and {labels[row]}"
        )
    return numbered


@dataclass(frozen=True, eq=False)
class BlockOrder:
    """An order of rows in which blocks, and the samples inside them, are contiguous.

    Attributes
    ----------
    order : numpy.ndarray of int64, shape (n_rows,)
        Rows in that order.
    sample_starts : numpy.ndarray of int64, shape (n_samples,)
        Place in ``order`` at which each sample starts.
    block_starts : numpy.ndarray of int64, shape (n_blocks,)
        Place in ``order`` at which each block starts.
    block_of_sample : numpy.ndarray of int64, shape (n_samples,)
        Block of each sample, in the samples' new order.
    """

    order: np.ndarray
    sample_starts: np.ndarray
    block_starts: np.ndarray
    block_of_sample: np.ndarray

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.order)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.sample_starts)

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.block_starts)

    @property
    def sample_sizes(self) -> np.ndarray:
        """Rows in each sample, shape (n_samples,)."""
        return np.diff(self.sample_starts, append=self.n_rows)

    @property
    def block_sizes(self) -> np.ndarray:
        """Rows in each block, shape (n_blocks,)."""
        return np.diff(self.block_starts, append=self.n_rows)

    @property
    def sample_block_starts(self) -> np.ndarray:
        """Sample with which each block starts, shape (n_blocks,)."""
        return np.searchsorted(self.sample_starts, self.block_starts)

    def by_row(self) -> "BlockOrder":
        """Give the same blocks and order, each row counted as a sample of its own."""
        rows = np.arange(self.n_rows)
        blocks = np.repeat(np.arange(self.n_blocks), self.block_sizes)
        return BlockOrder(self.order, rows, self.block_starts, blocks)


def order_by_block(codes: np.ndarray, blocks: np.ndarray) -> BlockOrder:
    """Sort rows by block, then sample, keeping the rows of a sample in their order.

    Parameters
    ----------
    codes, blocks : numpy.ndarray of int64, shape (n_rows,)
        Sample and block of each row; a sample lies in one block.
    """
    order = np.lexsort((codes, blocks))
    sorted_codes, sorted_blocks = codes[order], blocks[order]
    sample_starts = np.flatnonzero(np.diff(sorted_codes, prepend=-1))
    block_starts = np.flatnonzero(np.diff(sorted_blocks, prepend=-1))
    return BlockOrder(order, sample_starts, block_starts, sorted_blocks[sample_starts])


def block_order(
    samples: npt.ArrayLike | None,
    n_rows: int,
    *,
    blocks: npt.ArrayLike | None = None,
    n_blocks: int = N_BLOCKS,
    seed: int = 0,
) -> BlockOrder:
    """Order rows by blocks: those given by hand, else balanced ones.

    Parameters
    ----------
    samples, blocks : array-like of length ``n_rows``, or None
        Labels of each row.
    n_rows : int
        Number of rows.
    n_blocks, seed : int
        For the balanced blocks (see `balanced_blocks`).

    Raises
    ------
    ValueError
        See `sample_codes` and `check_blocks`.
    """
    codes = sample_codes(samples, n_rows)
    if blocks is None:
        return order_by_block(codes, balanced_blocks(codes, n_blocks=n_blocks, seed=seed))
    return order_by_block(codes, check_blocks(blocks, codes))


def sample_blocks(samples: npt.ArrayLike, order: BlockOrder) -> np.ndarray:
    """Which block each sample is in, to be kept beside what was computed without each block.

    Parameters
    ----------
    samples : array-like of int, length n_rows
        Sample of each row.
    order : BlockOrder
        Its blocks.

    Returns
    -------
    numpy.ndarray of int64, shape (n_samples, 2)
        Sample and block, by rising sample.
    """
    block_of_row = np.empty(order.n_rows, dtype=np.int64)
    block_of_row[order.order] = np.repeat(np.arange(order.n_blocks), order.block_sizes)
    names, first = np.unique(np.asarray(samples), return_index=True)
    return np.column_stack([names, block_of_row[first]])


def subset_of_samples(codes: np.ndarray, n_rows: int, *, seed: int = 0) -> np.ndarray:
    """Choose whole samples at random until they hold ``n_rows`` rows.

    Subsets of one seed are nested: the smaller lies inside the larger.

    Parameters
    ----------
    codes : numpy.ndarray of int64, shape (total_rows,)
        Sample of each row, numbered from 0.
    n_rows : int
        Least number of rows wanted.

    Returns
    -------
    numpy.ndarray of bool, shape (total_rows,)
        True at the rows chosen.
    """
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    enough = int(np.searchsorted(np.cumsum(sizes[shuffled]), n_rows)) + 1
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[shuffled[:enough]] = True
    return chosen[codes]
