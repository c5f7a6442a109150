"""``brain2pix align``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from brain2pix.cli._options import Set, parse_changes

if TYPE_CHECKING:
    from brain2pix.data.agreement import Agreement
    from brain2pix.data.alignment import Alignment


def align(
    places: Annotated[list[Path], Parameter(help="Subject folders (or dataset folders with one subject), then the folder to make.")],
    /,
    *,
    region: Annotated[str | None, Parameter(help="Areas of each subject, e.g. 'V1 + V2'. Default: V1 + V2 + V3 - outside.")] = None,
    rows: Annotated[
        Literal["auto", "trials", "averages"],
        Parameter(help="Match trials by stimulus and repetition, or averages by stimulus. auto: averages if a repetition is not shared."),
    ] = "auto",
    variance: Annotated[float, Parameter(help="Share of variance that the components keep, 0..1.")] = 0.99,
    set_: Set = None,
) -> int:
    """Turn several subjects into one: hyperalignment on shared training stimuli, then principal components.

    brain2pix align SUBJECT... OUT

    Nothing is fitted on held-out trials. The folder gets the fitted maps, the aligned responses of each split, and alignment.json.
    More by --set: train_split, heldout_split, cap_repeats, scale, n_rounds, whiten, compare_pictures.
    """
    from brain2pix.cli._job import STOPPED, with_progress
    from brain2pix.config.alignment import AlignmentSettings
    from brain2pix.config.base import build, merge, nest
    from brain2pix.errors import ConfigError
    from brain2pix.events import Cancelled, CancelToken, EventSink

    *sources, out = places
    if not sources:
        raise ConfigError("align needs one subject folder or more, and then the folder to make: brain2pix align SUBJECT... OUT")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not an empty folder; the last folder named is the one to make, choose another place for it")
    settings = build(AlignmentSettings, merge({"rows": rows, "variance": variance}, nest(parse_changes(set_))))

    def work(sink: EventSink, cancel: CancelToken) -> "tuple[Alignment, list[Agreement]]":
        from brain2pix.data.alignment import align_subjects
        from brain2pix.data.alignment_files import write_alignment
        from brain2pix.data.regions import DEFAULT_REGION
        from brain2pix.data.subject import open_subject

        # voxels are screened by training trials alone: a held-out response that is not finite must not decide which are used
        subjects = [open_subject(source, nan="keep") for source in sources]
        alignment = align_subjects(subjects, region or DEFAULT_REGION, settings, sink, cancel)
        return alignment, write_alignment(out, alignment, dict(zip(alignment.keys, subjects, strict=True)), cancel)

    try:
        alignment, agreement = with_progress(work)
    except Cancelled:
        print("stopped; nothing was written")
        return STOPPED
    print("\n".join([*_lines(alignment, agreement), f"aligned: {out}"]))
    return 0


def _lines(alignment: "Alignment", agreement: "list[Agreement]") -> list[str]:
    from brain2pix.data.alignment_files import agreement_line, subject_lines

    kind = "averages over repetitions" if "repeat" not in alignment.rows else "single trials"
    stimuli = alignment.rows["stimulus_id"].nunique()
    components = alignment.components
    told = [agreement_line(agreement)] if agreement else []
    return [
        *subject_lines(alignment, agreement),
        "",
        f"matched     {len(alignment.rows)} rows of {stimuli} stimuli ({kind}, split {alignment.settings.train_split})",
        f"space       {alignment.n_voxels} voxels of {alignment.reference}",
        f"components  {components.n_components} hold {components.kept:.1%} of the variance of the mean over subjects",
        *told,
    ]
