"""Two sets of scores of the same images, compared image by image; p-values corrected over a family of comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from brain2pix.evaluation.statistics import Interval, holm, paired_difference, wilcoxon_p

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Comparison:
    """Two rows or runs, image by image.

    Parameters
    ----------
    family : str, what is compared, e.g. the judge; p-values are corrected over all comparisons of a family
    better, worse : str, rows; the difference is better - worse, of ranks worse - better
    difference : Interval, in the unit of the scores
    p, corrected : float, Wilcoxon's signed rank, and after Holm's correction
    """

    family: str
    better: str
    worse: str
    difference: Interval
    p: float
    corrected: float = float("nan")


def compare_scores(
    family: str, better: str, own: "ArrayLike", worse: str, other: "ArrayLike", groups: "ArrayLike", *, factor: float = 1.0
) -> Comparison:
    """Compare the scores of two rows.

    Parameters
    ----------
    family, better, worse : str, see `Comparison`
    own, other : float arrays, [m], scores of the same images, of `better` and of `worse`
    groups : int array, [m], photograph of each image: the interval resamples photographs
    factor : float, unit of the difference (100 for percentage points)

    Returns
    -------
    Comparison, not yet corrected

    Raises
    ------
    ShapeError
        If the two do not score the same number of images.
    """
    return Comparison(family, better, worse, paired_difference(own, other, groups).scaled(factor), wilcoxon_p(own, other))


def corrected(family: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values of all comparisons of a family by Holm's method."""
    values = holm([each.p for each in family])
    return [replace(each, corrected=float(p)) for each, p in zip(family, values, strict=True)]
