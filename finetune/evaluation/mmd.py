"""Maximum mean discrepancy: how far two sets are apart, seen through a kernel (Gretton et al. 2012).

The unit is the clip: a clip has several windows, which are no independent draws, so kernels are averaged over the
windows of two clips first, and a clip is never compared with itself. That keeps the estimate unbiased.
"""

from __future__ import annotations

import numpy as np

WIDTHS = (0.5, 1.0, 2.0)
"""Bandwidths beside the median distance; the kernel is the mean over them."""


def bandwidth(features: np.ndarray, most: int = 1000) -> float:
    """The median distance between rows of (rows, descriptors), over at most `most` of them, evenly chosen."""
    chosen = features[
        np.unique(np.linspace(0, len(features) - 1, min(most, len(features))).round().astype(int))
    ]
    squared = squared_distances(chosen, chosen)[np.triu_indices(len(chosen), 1)]
    return float(np.sqrt(np.median(squared))) if len(squared) else 1.0


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(rows of x, rows of y) squared Euclidean distances."""
    inner = x @ y.T
    return np.maximum(np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * inner, 0)


def clip_kernel(x: list[np.ndarray], y: list[np.ndarray], width: float) -> np.ndarray:
    """(clips of x, clips of y) mean Gaussian kernel between the windows, (windows, descriptors), of two clips."""
    rows = squared_distances(np.concatenate(x), np.concatenate(y))
    kernel = np.mean([np.exp(-rows / (2 * (width * share) ** 2)) for share in WIDTHS], axis=0)
    return _block_means(_block_means(kernel, x).T, y).T


def mmd_squared(
    xx: np.ndarray,
    yy: np.ndarray,
    xy: np.ndarray,
    x_counts: np.ndarray | None = None,
    y_counts: np.ndarray | None = None,
) -> np.ndarray:
    """Unbiased squared MMD from clip kernels, for each of several resamplings.

    `x_counts` (draws, clips of x) says how often each clip counts; without counts each counts once, and the result
    is one value. Below zero is possible and means: no farther apart than two draws from one source.
    """
    x_counts = np.ones((1, len(xx))) if x_counts is None else x_counts
    y_counts = np.ones((1, len(yy))) if y_counts is None else y_counts
    between = ((x_counts @ xy) * y_counts).sum(1) / (x_counts.sum(1) * y_counts.sum(1))
    return _mean_of_pairs(xx, x_counts) + _mean_of_pairs(yy, y_counts) - 2 * between


def _mean_of_pairs(kernel: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean kernel of two different clips, weighted by how often both count."""
    apart = kernel - np.diag(np.diag(kernel))
    pairs = counts.sum(1) ** 2 - np.square(counts).sum(1)
    return ((counts @ apart) * counts).sum(1) / pairs


def _block_means(rows: np.ndarray, clips: list[np.ndarray]) -> np.ndarray:
    """The mean of the rows that belong to each clip."""
    ends = np.cumsum([len(clip) for clip in clips])
    return np.stack([block.mean(0) for block in np.split(rows, ends[:-1])])
