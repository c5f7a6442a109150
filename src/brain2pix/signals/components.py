"""Principal components of responses, fitted on training rows and applied to any."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from brain2pix.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Components with less than this share of the largest variance are rounding noise of the rows.
_RANK = 1e-12
_COLUMNS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components.

    Parameters
    ----------
    mean : float32 array, [v], of the rows of the fit
    vectors : float32 array, [p v], orthonormal, from much variance to little; the largest entry of each is positive
    variances : float64 array, [p], of the rows along each (ddof 1)
    total_variance : float, of all components there are
    whiten : bool, whether scores are divided by the deviation along their component
    """

    mean: "NDArray[np.float32]"
    vectors: "NDArray[np.float32]"
    variances: "NDArray[np.float64]"
    total_variance: float
    whiten: bool = False

    @property
    def n_components(self) -> int:
        """Number of components kept."""
        return len(self.vectors)

    @property
    def kept(self) -> float:
        """Share of the variance that they hold, 0..1."""
        return float(self.variances.sum() / self.total_variance)

    def project(self, responses: "NDArray[np.floating]") -> "NDArray[np.float32]":
        """Give the scores of responses.

        Parameters
        ----------
        responses : float array, [b v]

        Returns
        -------
        float32 array, [b p]

        Raises
        ------
        ShapeError
            If they have another number of voxels.
        """
        if responses.ndim != 2 or responses.shape[1] != self.mean.size:
            raise ShapeError(f"responses have shape {responses.shape}, the components are for [b {self.mean.size}]")
        scores = (responses - self.mean) @ self.vectors.T
        return (scores / np.sqrt(self.variances) if self.whiten else scores).astype(np.float32)

    def restore(self, scores: "NDArray[np.floating]") -> "NDArray[np.float32]":
        """Go back from scores [b p] to responses [b v], without what the components leave out."""
        if scores.ndim != 2 or scores.shape[1] != self.n_components:
            raise ShapeError(f"scores have shape {scores.shape}, expected [b {self.n_components}]")
        plain = scores * np.sqrt(self.variances) if self.whiten else scores
        return (plain @ self.vectors + self.mean).astype(np.float32)


def fit_components(responses: "NDArray[np.floating]", variance: float = 0.99, *, whiten: bool = False) -> Components:
    """Find the fewest principal components that hold a share of the variance.

    Parameters
    ----------
    responses : float array, [n v], training rows, all finite; they are demeaned here
    variance : float, 0..1; 1 keeps every component that is not rounding noise
    whiten : bool

    Raises
    ------
    ConfigError
        If `variance` is not in 0..1.
    ShapeError
        If there are fewer than two rows, a value is not finite, or all rows are the same.

    Notes
    -----
    With fewer rows than voxels the n x n products of rows are decomposed instead of the v x v covariance, summed over blocks of voxels:
    besides the rows and the result nothing of size n x v is held.
    """
    if not 0 < variance <= 1:
        raise ConfigError(f"the share of variance to keep must lie above 0 and at most at 1, got {variance}")
    if responses.ndim != 2 or len(responses) < 2 or not responses.shape[1]:
        raise ShapeError(f"components need at least two rows of responses [n v], got shape {responses.shape}")
    n_rows, n_voxels = responses.shape
    mean = responses.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise ShapeError("the rows hold values that are not finite; leave those voxels out first")
    by_rows = n_rows <= n_voxels
    values, base = _decompose(responses, mean, by_rows)
    if not values.size:
        raise ShapeError("all rows are the same; there is no variance to take components of")
    share = np.cumsum(values) / values.sum()
    # the smallest number that reaches the share; rounding must not ask for one more
    count = min(int(np.searchsorted(share, variance - 1e-12)) + 1, values.size)
    vectors = _to_voxels(responses, mean, base[:, :count]) / np.sqrt(values[:count, None]) if by_rows else base[:, :count].T
    signs = np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1))
    return Components(
        mean=mean.astype(np.float32),
        vectors=(vectors * signs).astype(np.float32),
        variances=values[:count] / (n_rows - 1),
        total_variance=float(values.sum() / (n_rows - 1)),
        whiten=whiten,
    )


def _decompose(
    responses: "NDArray[np.floating]", mean: "NDArray[np.float64]", by_rows: bool
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Eigenvalues, from large to small, and eigenvectors of the products of demeaned rows [n n], or voxels [v v]."""
    size = responses.shape[0 if by_rows else 1]
    products = np.zeros((size, size))
    if by_rows:
        for start in range(0, responses.shape[1], _COLUMNS_AT_ONCE):
            part = responses[:, start : start + _COLUMNS_AT_ONCE] - mean[start : start + _COLUMNS_AT_ONCE]
            products += part @ part.T
    else:
        for start in range(0, len(responses), _COLUMNS_AT_ONCE):
            part = responses[start : start + _COLUMNS_AT_ONCE] - mean
            products += part.T @ part
    values, base = linalg.eigh(products)
    told = values > _RANK * max(values[-1], np.finfo(np.float64).tiny)
    return values[told][::-1], base[:, told][:, ::-1]


def _to_voxels(responses: "NDArray[np.floating]", mean: "NDArray[np.float64]", base: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Products of a base of rows [n p] with the demeaned rows, [p v]."""
    vectors = np.empty((base.shape[1], responses.shape[1]))
    for start in range(0, responses.shape[1], _COLUMNS_AT_ONCE):
        block = slice(start, start + _COLUMNS_AT_ONCE)
        vectors[:, block] = base.T @ (responses[:, block] - mean[block])
    return vectors
