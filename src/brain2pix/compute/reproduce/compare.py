"""Paired comparisons of rows with their corrections, and whether the orderings of the paper are found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from brain2pix.compute.reproduce.plans import averaged_name
from brain2pix.compute.reproduce.published import BELIY, GAZIV
from brain2pix.evaluation.statistics import Interval, holm, paired_difference, wilcoxon_p

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from brain2pix.compute.reproduce.rows import Scored

HOLDS, FAILS, UNCLEAR, MISSING = "holds", "does not hold", "cannot be told (interval includes 0)", "missing"
RANK = "rank of the true class"  # a comparison of classifications; smaller is better
_WAYS = 2  # of 2-way identification every image gives a graded score: the share of the other images that it beats


@dataclass(frozen=True)
class Comparison:
    """Two rows, image by image.

    Parameters
    ----------
    family : str, judge whose scores are compared, or `RANK`; p-values are corrected over all comparisons of a family
    better, worse : str, rows; the difference is better - worse, of ranks worse - better
    difference : Interval, percentage points of 2-way identification, or ranks
    p, corrected : float, Wilcoxon's signed rank, and after Holm's correction
    """

    family: str
    better: str
    worse: str
    difference: Interval
    p: float
    corrected: float = float("nan")


@dataclass(frozen=True)
class Claim:
    """One ordering of a paper.

    Parameters
    ----------
    statement, source : str
    better, worse : str, rows; of repeats "1 repeat" and "all repeats"
    family : str, see `Comparison`; empty: the judge of the paper
    """

    statement: str
    source: str
    better: str
    worse: str
    family: str = ""


_BOTH = f"{BELIY}; {GAZIV}"
_COMMON = (
    Claim("images without responses help: + images > pairs only", _BOTH, "images", "supervised"),
    Claim("test responses without images help: full > + images", _BOTH, "full", "images"),
    Claim("self-supervision helps: full > pairs only", _BOTH, "full", "supervised"),
    Claim("more repeats averaged are better: all > 1", BELIY, "all repeats", "1 repeat"),
    Claim("early areas hold most of the detail: LVC > HVC", GAZIV, "LVC", "HVC"),
    Claim("all areas are better than the higher ones alone: VC > HVC", GAZIV, "VC", "HVC"),
)
CLAIMS: dict[str, tuple[Claim, ...]] = {
    "gaziv": (*_COMMON, Claim("classes are found better: rank of full < rank of pairs only", GAZIV, "full", "supervised", RANK)),
    "beliy": (
        *_COMMON,
        Claim("an image's own test responses help: full > target excluded", BELIY, "full", "excluded"),
        Claim("test responses of other images help: target excluded > + images", BELIY, "excluded", "images"),
    ),
}


def compare_all(
    scored: "Mapping[str, Scored]",
    ranks: "Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]",
    claims: Sequence[Claim],
    same: Sequence[str] = (),
) -> list[Comparison]:
    """Compare `full` with every other row, its mean over runs with a single one, and the rows of the claims.

    Parameters
    ----------
    scored : mapping of row to Scored
    ranks : mapping of row to ranks of the true class and photographs, [m] each, of the same pictures
    claims : sequence of Claim
    same : sequence of str, rows that are `full` under another name: a comparison of them would only dilute the correction

    Returns
    -------
    list of Comparison; those with a missing row are left out
    """
    single = [name for name in scored if not name.endswith((" repeat", " repeats", " runs"))]
    pairs = [("full", name) for name in single if name != "full" and name not in same]
    pairs += [(name, name.partition(", ")[0]) for name in scored if name.endswith(" runs")]
    pairs += [(claim.better, claim.worse) for claim in claims if claim.family != RANK]
    pairs = [pair for pair in dict.fromkeys(pairs) if set(pair) <= set(scored)]
    found: list[Comparison] = []
    for judge in scored["full"].ways if "full" in scored else ():
        found += _corrected([_compare(judge, scored[first], scored[second]) for first, second in pairs])
    others = [name for name in ranks if name != "full"] if "full" in ranks else []
    return [*found, *_corrected([_compare_ranks(ranks, "full", name) for name in others])]


def verdict(claim: Claim, found: Sequence[Comparison], judge: str) -> tuple[str, Comparison | None]:
    """Say whether an ordering is found, and by which comparison.

    Parameters
    ----------
    claim : Claim
    found : sequence of Comparison
    judge : str, whose scores decide

    Returns
    -------
    str: it holds, it does not hold, it cannot be told, or a row is missing
    Comparison or None
    """
    family = claim.family or judge
    chosen = [each for each in found if (each.family, each.better, each.worse) == (family, claim.better, claim.worse)]
    if not chosen:
        return MISSING, None
    low, high = chosen[0].difference.low, chosen[0].difference.high
    if low > 0:
        return HOLDS, chosen[0]
    return (FAILS if high < 0 else UNCLEAR), chosen[0]


def repeat_rows(numbers: Sequence[int]) -> dict[int, str]:
    """Names of the rows that are decoded from so many repeats; the last are all."""
    return {n: "all repeats" if n == max(numbers) else f"{n} repeat{'s' * (n > 1)}" for n in numbers}


def with_averages(claims: Sequence[Claim], rows: "Sequence[str]", runs: int) -> list[Claim]:
    """Let claims speak of means over runs where both of their rows have one, as the paper's numbers do."""
    found = []
    for claim in claims:
        better, worse = (averaged_name(name, runs) for name in (claim.better, claim.worse))
        both = claim.family != RANK and {better, worse} <= set(rows)
        found.append(replace(claim, better=better, worse=worse) if both else claim)
    return found


def _compare(judge: str, first: "Scored", second: "Scored") -> Comparison:
    own, other = first.ways[judge][_WAYS], second.ways[judge][_WAYS]
    return Comparison(judge, first.name, second.name, paired_difference(own, other, first.groups).scaled(100), wilcoxon_p(own, other))


def _compare_ranks(ranks: "Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]", first: str, second: str) -> Comparison:
    own, groups = ranks[first]
    other, _ = ranks[second]
    return Comparison(RANK, first, second, paired_difference(other, own, groups), wilcoxon_p(own, other))


def _corrected(family: list[Comparison]) -> list[Comparison]:
    corrected = holm([each.p for each in family])
    return [replace(each, corrected=float(p)) for each, p in zip(family, corrected, strict=True)]
