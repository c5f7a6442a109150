"""Paired comparisons of rows with their corrections, and whether the orderings of the paper are found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from brain2pix.compute.reproduce.plans import WITHOUT, Plan, averaged_name
from brain2pix.compute.reproduce.published import BELIY, GAZIV
from brain2pix.evaluation.comparison import Comparison, compare_scores, corrected

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from brain2pix.compute.reproduce.rows import Scored

HOLDS, FAILS, UNCLEAR, MISSING = "holds", "does not hold", "cannot be told", "missing"
RANK = "rank of the true class"  # a comparison of classifications; smaller is better
_WAYS = 2  # of 2-way identification every image gives a graded score: the share of the other images that it beats


@dataclass(frozen=True)
class Claim:
    """One ordering of a paper.

    Parameters
    ----------
    statement, source : str
    better, worse : str, rows; of repeats "1 repeat" and "all repeats"
    family : str, see `Comparison`; empty: the judge of the paper
    within : float or None, the claim is that the difference is smaller than this [percentage points]; None: that it is above 0
    """

    statement: str
    source: str
    better: str
    worse: str
    family: str = ""
    within: float | None = None


_HARDLY = 5.0  # percentage points of 2-way identification that we call "hardly": the paper gives no number
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
    "gaziv": (
        *_COMMON,
        Claim("the feature loss helps: all blocks > none", GAZIV, "full", "no features"),
        Claim("deeper blocks of the feature loss help: all > the first", GAZIV, "full", "blocks 1"),
        Claim("classes are found better: rank of full < rank of pairs only", GAZIV, "full", "supervised", RANK),
    ),
    "beliy": (
        *_COMMON,
        Claim("an image's own test responses help: full > target excluded", BELIY, "full", "excluded"),
        Claim("test responses of other images help: target excluded > + images", BELIY, "excluded", "images"),
    ),
}


def claims_of(plan: Plan) -> tuple[Claim, ...]:
    """Orderings that a plan is to find: those of the paper, and for each area that it removes that this hardly matters."""
    removed = [name for name in plan.regions if name.startswith(WITHOUT)]
    words = f"one area hardly matters: full - {{}} < {_HARDLY:g} points"
    return (*CLAIMS[plan.method], *(Claim(words.format(name), GAZIV, "full", name, within=_HARDLY) for name in removed))


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
        found += corrected([_compare(judge, scored[first], scored[second]) for first, second in pairs])
    others = [name for name in ranks if name != "full"] if "full" in ranks else []
    return [*found, *corrected([_compare_ranks(ranks, "full", name) for name in others])]


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
    return judge_interval(chosen[0].difference.low, chosen[0].difference.high, claim.within), chosen[0]


def judge_interval(low: float, high: float, within: float | None) -> str:
    """Say whether the interval of a difference lies above 0, or, if the claim is that it is small, below `within`."""
    above, below = low > (within or 0.0), high < (within or 0.0)
    if not (above or below):
        return UNCLEAR
    return HOLDS if above == (within is None) else FAILS


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
    return compare_scores(judge, first.name, own, second.name, other, first.groups, factor=100)


def _compare_ranks(ranks: "Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]", first: str, second: str) -> Comparison:
    own, groups = ranks[first]
    other, _ = ranks[second]
    return compare_scores(RANK, first, other, second, own, groups)  # a smaller rank is better
