"""``brain2pix prf``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from brain2pix.data.subject import Subject

prf = App(
    name="prf", help="Receptive fields measured elsewhere: bring them to a subject, write maps for other tools.", help_format="plaintext"
)


@prf.command(name="import")
def import_prf(
    source: Annotated[Path, Parameter(help="Folder with maps, one of them, a table (TSV, CSV), or results of analyzePRF (.mat).")],
    subject: Annotated[Path, Parameter(help="Subject, dataset or demo folder.")],
    /,
    *,
    convention: Annotated[str, Parameter(help="What the numbers mean, see `brain2pix prf conventions`; auto proposes one.")] = "auto",
    subject_name: Annotated[str | None, Parameter(help="Which subject of a dataset folder.")] = None,
    zero: Annotated[Literal["right", "up"] | None, Parameter(help="Meridian where the angle is 0, instead of the convention's.")] = None,
    direction: Annotated[Literal["counter-clockwise", "clockwise"] | None, Parameter(help="In which the angle grows.")] = None,
    unit: Annotated[Literal["deg", "rad"] | None, Parameter(help="Of the angle; its range is then not doubted.")] = None,
    r2_unit: Annotated[Literal["percent", "fraction"] | None, Parameter(help="Of R2, instead of the convention's.")] = None,
    degrees_per_pixel: Annotated[float | None, Parameter(help="For lengths in pixels of the aperture (analyzeprf).")] = None,
    field_of_view_deg: Annotated[float | None, Parameter(help="Full width of the stimulus of the pRF scan [degrees].")] = None,
    first_index: Annotated[Literal[0, 1], Parameter(help="What the first voxel or vertex of a table is called.")] = 0,
    flip: Annotated[list[Literal["x", "y"]] | None, Parameter(help="Turn a sign over; may be repeated.", negative="")] = None,
    swap_hemispheres: Annotated[bool, Parameter(help="The files of the left hemisphere are the right one's.", negative="")] = False,
    replace: Annotated[bool, Parameter(help="Replace maps that were imported before.", negative="")] = False,
    check: Annotated[bool, Parameter(help="Only read and check; write nothing.", negative="")] = False,
) -> int:
    """Read maps of receptive fields, check left and right, up and down and the field sign, and put them into the subject's prf/."""
    from brain2pix.data.prf_files import Choices, read_prf, write_prf

    choices = Choices(
        convention=convention,
        zero=zero,
        direction=direction,
        unit=unit,
        percent=None if r2_unit is None else r2_unit == "percent",
        degrees_per_pixel=degrees_per_pixel,
        field_of_view_deg=field_of_view_deg,
        flip=tuple(flip or ()),
        swap_hemispheres=swap_hemispheres,
        first_index=first_index,
    )
    opened = _open(subject, subject_name)
    imported = read_prf(source.expanduser().absolute(), opened, choices)
    print("\n".join(imported.lines()))
    if check:
        print("nothing was written")
        return 0
    written = write_prf(imported, opened, replace=replace)
    print(f"wrote      {len(written)} files to {written[0].parent}")
    return 0


@prf.command(name="export")
def export_prf(
    folder: Annotated[Path, Parameter(help="Demo, run or subject folder with maps.")],
    out: Annotated[Path, Parameter(help="Folder to make.")],
    /,
    *,
    convention: Annotated[str, Parameter(help="Names and numbers of the files, see `brain2pix prf conventions`.")] = "brain2pix",
    formats: Annotated[str, Parameter(help="With commas: nifti, gifti, mgz, tsv.")] = "nifti,gifti,mgz,tsv",
    imported: Annotated[bool, Parameter(help="The imported maps, also where an encoder's are.", negative="")] = False,
    field_of_view_deg: Annotated[float | None, Parameter(help="Full width of the stimulus, where the map does not say.")] = None,
) -> int:
    """Write a map for other tools: NIfTI, GIFTI, FreeSurfer's MGZ and one table, in our convention or another's."""
    from brain2pix.compute.parts import find_parts
    from brain2pix.data.maps import imported_maps, read_imported
    from brain2pix.data.prf_files.writing import rows_of, with_field_of_view, write_prf_files
    from brain2pix.errors import MissingDataError

    parts = find_parts(folder)
    subject = _open(parts.subject, parts.subject_name)
    place = imported_maps(subject.path) if imported or parts.maps is None else parts.maps
    if place is None:
        raise MissingDataError(f"{folder} holds no maps; import some (brain2pix prf import), or make them (brain2pix maps RUN)")
    stored = read_imported(place)
    index = rows_of(stored, subject)
    found = with_field_of_view(stored.on(subject, index), stored.retinotopy.field_of_view_deg, field_of_view_deg)
    kinds = tuple(dict.fromkeys(part.strip() for part in formats.split(",") if part.strip()))
    label = "prf" if place == imported_maps(subject.path) else "decoder" if "decoder" in found.source else "encoder"
    written = write_prf_files(out.expanduser().absolute(), found, subject, index, convention=convention, kinds=kinds, label=label)
    for path in written:
        print(f"wrote {path}")
    return 0


@prf.command(name="conventions")
def list_conventions() -> int:
    """List the conventions that maps can be read and written in."""
    from brain2pix.data.prf_files import CONVENTIONS

    for one in CONVENTIONS.values():
        also = f" (also: {', '.join(one.aliases)})" if one.aliases else ""
        print(f"{one.name:20} {one.title}{also}")
        where, size = str(one).partition(" (")[2].removesuffix(")"), {"effective": "sigma / sqrt(exponent)", "sigma": "sigma"}[one.size]
        print(
            f"{'':20} refused without more: {one.refuse}"
            if one.refuse
            else f"{'':20} {where}; size {size}; R2 {'percent' if one.percent else 'fraction'}"
        )
    return 0


def _open(path: Path, name: str | None) -> "Subject":
    from brain2pix.data.subject import open_subject

    is_demo = (path / "subject" / "dataset_description.json").is_file()  # a demo keeps its subject in a folder of that name
    return open_subject(path / "subject" if is_demo else path, name)
