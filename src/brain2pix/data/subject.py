"""Open a native folder: validate everything once, then give access."""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brain2pix.anatomy.surfaces import SURFACE_KINDS
from brain2pix.anatomy.transforms import nearest_voxel_of_vertices
from brain2pix.arrays import SubjectInfo
from brain2pix.data.betas import Betas, NiftiBetas, open_betas, read_mask
from brain2pix.data.checks import check_images, choose_subject, field_of_view, find_root, read_description
from brain2pix.data.images import centre_crop, read_image, read_square_images, resize
from brain2pix.data.preparation import Scaling, resolve_zscore
from brain2pix.data.regions import DEFAULT_REGION, default_region, region_mask
from brain2pix.data.rois import read_area_volumes, read_hemispheres, with_unions
from brain2pix.data.screen import Dropped, NanPolicy, choose_voxels, scaling_notes, screen_responses
from brain2pix.data.space import Space, voxel_hash
from brain2pix.data.stacks import open_stack, stack_of_folder
from brain2pix.data.surface_files import read_mesh, read_vertex_values
from brain2pix.data.tables import check_stimuli, check_trials, read_table
from brain2pix.data.volumes import join_names, nifti_files, read_volume
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from brain2pix.anatomy.surfaces import Mesh
    from brain2pix.config.preparation import ZScore

logger = logging.getLogger(__name__)

# A vertex takes the value of a voxel whose centre lies within this many voxel edges of the mid-thickness.
_VERTEX_REACH = 1.5
# Further apart than this, in the median, surface and voxels cannot belong together.
_MAX_APART_MM = 10.0
BLOCK_BYTES = 2**26  # of responses that `Subject.blocks` reads at once


@dataclass(frozen=True, eq=False)
class Subject:
    """One person's brain, responses and stimuli. Made by `open_subject`; reads responses and images when asked.

    Attributes
    ----------
    root : Path, the dataset folder
    path : Path, the subject's folder in it
    name : str, "sub-01"
    space : Space
    voxels : DataFrame, `i j k` (0-based), `x y z` (RAS mm), `hemi` ("L", "R", "n/a"); row number = voxel index
    areas : dict of name to bool array, [v]: those of the files, unions such as V1 = V1v | V1d, "L", "R" and "all"
    descriptions : dict of area name to text
    trials : DataFrame, `trial stimulus_id split run session repeat` and more; row number = row of the responses
    stimuli : DataFrame, `stimulus_id file category split source` and more
    field_of_view_deg : float, edge of the square stimulus
    unit : str, of `responses`
    zscore : str, how it was asked for; "auto" unless another was
    simulated : bool
    title : str, name of the dataset
    dropped : tuple of Dropped
    notes : tuple of str, what a user should know before trusting a result
    """

    root: Path
    path: Path
    name: str
    space: Space
    voxels: pd.DataFrame
    areas: "dict[str, NDArray[np.bool_]]"
    descriptions: dict[str, str]
    trials: pd.DataFrame
    stimuli: pd.DataFrame
    field_of_view_deg: float
    unit: str
    zscore: "ZScore"
    simulated: bool
    title: str
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...]
    _betas: Betas = field(repr=False)
    _columns: "NDArray[np.int64]" = field(repr=False)
    _scaling: Scaling | None = field(repr=False)
    _meshes: "dict[tuple[str, str], Mesh]" = field(default_factory=dict, repr=False)

    @property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return len(self.voxels)

    @property
    def ijk(self) -> "NDArray[np.int64]":
        """Voxel indices, [v 3], 0-based."""
        return self.voxels[["i", "j", "k"]].to_numpy(dtype=np.int64)

    @property
    def xyz(self) -> "NDArray[np.float32]":
        """World coordinates of voxels, [v 3], RAS mm."""
        return self.voxels[["x", "y", "z"]].to_numpy(dtype=np.float32)

    def rows(self, split: str) -> "NDArray[np.int64]":
        """Trial rows of a split.

        Raises
        ------
        ConfigError
            If no trial has this split; the nearest name is given.
        """
        found = np.flatnonzero(self.trials["split"].to_numpy() == split)
        if not found.size:
            raise ConfigError(f"{self.name}: {unknown_name('split', split, set(self.trials['split']))}")
        return found

    def select(self, expression: str) -> "NDArray[np.int64]":
        """Voxel indices of a region expression, in the order of the voxel table.

        Parameters
        ----------
        expression : str, e.g. "V1 + V2 - outside"; `DEFAULT_REGION` adapts to the areas there are

        Raises
        ------
        ConfigError
            If an area is unknown or no voxel is selected.
        """
        text = default_region(self.areas) if expression == DEFAULT_REGION else expression
        return np.flatnonzero(region_mask(text, self.areas)).astype(np.int64)

    def describe(self, voxel_index: "NDArray[np.integer]") -> SubjectInfo:
        """Say which voxels a batch or a model speaks of."""
        index = np.asarray(voxel_index, dtype=np.int64)
        return SubjectInfo(
            subject=self.name,
            voxel_index=index,
            voxel_hash=voxel_hash(self.space, self.ijk[index]),
            unit=self.unit,
            field_of_view_deg=self.field_of_view_deg,
            simulated=self.simulated,
            zscore=self.zscore,
        )

    def responses(
        self, rows: "NDArray[np.integer] | None" = None, voxel_index: "NDArray[np.integer] | None" = None
    ) -> "NDArray[np.float32]":
        """Read responses.

        Parameters
        ----------
        rows : int array or None, [n], trial rows; None for all
        voxel_index : int array or None, [v], rows of `voxels`; None for all

        Returns
        -------
        float32 array, [n v], in `unit`
        """
        index = np.arange(self.n_voxels) if voxel_index is None else np.asarray(voxel_index, dtype=np.int64)
        chosen = np.arange(len(self.trials)) if rows is None else np.asarray(rows, dtype=np.int64)
        values = self._betas.read(self._columns[index])
        values = values if rows is None else values[chosen]
        return values if self._scaling is None else self._scaling.apply(values, chosen, index)

    def blocks(
        self, voxel_index: "NDArray[np.integer]", rows: "NDArray[np.integer] | None" = None
    ) -> "Iterator[tuple[slice, NDArray[np.float32]]]":
        """Read responses a few voxels at a time, so that they never lie in memory all at once.

        Parameters
        ----------
        voxel_index : int array, [v], rows of `voxels`
        rows : int array or None, [n], trial rows; None for all

        Yields
        ------
        slice of `voxel_index`, float32 array [n w] of these voxels, in `unit`
        """
        width = max(BLOCK_BYTES // (4 * len(self.trials)), 1)
        for start in range(0, len(voxel_index), width):
            part = slice(start, min(start + width, len(voxel_index)))
            yield part, self.responses(rows, voxel_index[part])

    def fingerprint(self, voxel_index: "NDArray[np.integer]") -> str:
        """SHA-256 over everything that decides the responses of some voxels: the file (path, size, time), voxels and z-scores."""
        status = self._betas.path.stat()
        digest = hashlib.sha256(f"{self._betas.path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}".encode())
        digest.update(self._columns[np.asarray(voxel_index)].tobytes())
        for part in () if self._scaling is None else self._scaling.of(np.asarray(voxel_index)):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def images(self, stimulus_ids: "Sequence[str]", size: int | None = None) -> "NDArray[np.uint8]":
        """Read stimuli, cut square about their centre.

        Parameters
        ----------
        stimulus_ids : sequence of str
        size : int or None, edge [px]; None keeps the files' own size, which must then be the same for all

        Returns
        -------
        uint8 array, [n h h 3]

        Raises
        ------
        ConfigError
            If an id is unknown.
        DataFormatError
            If a file cannot be read, or sizes differ and none is asked for.
        """
        pictures = list(read_square_images((self.image_path(name) for name in stimulus_ids), size))
        edges = {len(picture) for picture in pictures}
        if len(edges) > 1:
            raise DataFormatError(f"stimuli of {self.root} have edges of {join_names(map(str, sorted(edges)))} px; ask for one image size")
        return np.stack(pictures) if pictures else np.zeros((0, size or 0, size or 0, 3), dtype=np.uint8)

    def has_picture(self, stimulus_id: str) -> bool:
        """Whether a stimulus has an image file: what is imagined may have none."""
        return stimulus_id in self._files and self.image_path(stimulus_id).is_file()

    def image_path(self, stimulus_id: str) -> Path:
        """File of a stimulus."""
        files = self._files.get(stimulus_id)
        if files is None:
            raise ConfigError(f"{self.name}: {unknown_name('stimulus', stimulus_id, list(self._files)[:50])}")
        return self.root / "stimuli" / files

    @property
    def _files(self) -> dict[str, str]:
        known: dict[str, str] | None = self.__dict__.get("_file_of")
        if known is None:
            with_file = self.stimuli[self.stimuli["file"].notna()]
            known = dict(zip(with_file["stimulus_id"], with_file["file"], strict=True))
            self.__dict__["_file_of"] = known
        return known

    @property
    def image_size(self) -> int:
        """Edge of the first stimulus after cutting it square [px]."""
        return len(centre_crop(read_image(self.image_path(next(iter(self._files))))))

    def unpaired(self, size: int | None = None, without: "Collection[str]" = ()) -> "NDArray[np.uint8] | None":
        """Images without responses, ``stimuli/unpaired.npy`` or the files in ``stimuli/unpaired/``.

        Parameters
        ----------
        size : int or None, edge [px]; None keeps the stack as it is (a folder gets the edge of the stimuli)
        without : collection of str, classes (names of sub-folders) that are left out; a stack has no classes

        Returns
        -------
        uint8 array, [u h h 3], memory-mapped where it is not resized; None if there are none
        """
        stimuli = self.root / "stimuli"
        if (stimuli / "unpaired.npy").exists() or (stimuli / "unpaired.npy").is_symlink():
            stack = open_stack(stimuli / "unpaired.npy")
            return stack if size is None else resize(stack, size)
        if (stimuli / "unpaired").is_dir():
            return stack_of_folder(stimuli / "unpaired", size or self.image_size, without)
        return None

    def t1w(self) -> "tuple[NDArray[np.float32], NDArray[np.float64]]":
        """Anatomical volume and its affine.

        Raises
        ------
        MissingDataError
            If the subject has none.
        """
        found = nifti_files(self.path / "anat", "*_T1w")
        if not found:
            raise MissingDataError(f"{self.path / 'anat'} holds no anatomical volume (*_T1w.nii.gz)")
        return read_volume(found[0], "anatomical volume")

    def meshes(self) -> list[tuple[str, str]]:
        """(hemi, kind) of the surfaces there are."""
        return [(hemi, kind) for hemi in ("L", "R") for kind in SURFACE_KINDS if self._surface_file(hemi, kind) is not None]

    def mesh(self, hemi: str, kind: str) -> "Mesh":
        """Read a surface; white and pial lie in the world space of the voxels.

        Parameters
        ----------
        hemi : {"L", "R"}
        kind : str, one of white, pial, inflated, sphere, flat

        Raises
        ------
        MissingDataError, DataFormatError
        """
        if (hemi, kind) not in self._meshes:
            file = self._surface_file(hemi, kind)
            if file is None:
                have = join_names(f"{h} {k}" for h, k in self.meshes()) or "none"
                raise MissingDataError(f"{self.path / 'anat'} holds no surface *_hemi-{hemi}_{kind}.surf.gii; there: {have}")
            self._meshes[hemi, kind] = read_mesh(file, hemi, kind)
        return self._meshes[hemi, kind]

    def sulc(self, hemi: str) -> "NDArray[np.float32]":
        """Sulcal depth per vertex, positive in a sulcus, [p]."""
        found = sorted((self.path / "anat").glob(f"*_hemi-{hemi}*_sulc.shape.gii"))
        if not found:
            raise MissingDataError(f"{self.path / 'anat'} holds no sulcal depth *_hemi-{hemi}_sulc.shape.gii")
        kinds = [kind for side, kind in self.meshes() if side == hemi]
        return read_vertex_values(found[0], self.mesh(hemi, kinds[0]).n_vertices if kinds else None)

    def vertex_voxels(self, hemi: str, voxel_index: "NDArray[np.integer] | None" = None) -> "NDArray[np.int64]":
        """Which voxel each vertex shows: the nearest of its hemisphere, within 1.5 voxels of the mid-thickness.

        Parameters
        ----------
        hemi : {"L", "R"}
        voxel_index : int array or None, [v], the voxels to choose from; None for all

        Returns
        -------
        int array, [p], positions in `voxel_index`; -1 where none is near

        Raises
        ------
        DataFormatError
            If surface and voxels lie apart.
        """
        index = np.arange(self.n_voxels) if voxel_index is None else np.asarray(voxel_index, dtype=np.int64)
        middle = (self.mesh(hemi, "white").vertices + self.mesh(hemi, "pial").vertices) / 2
        self._check_alignment(hemi, middle)
        own = np.flatnonzero(self.voxels["hemi"].to_numpy()[index] == hemi)
        if not own.size:
            return np.full(len(middle), -1, dtype=np.int64)
        nearest = nearest_voxel_of_vertices(middle, self.xyz[index[own]], _VERTEX_REACH * max(self.space.voxel_mm))
        return np.where(nearest >= 0, own[nearest], -1).astype(np.int64)

    def _check_alignment(self, hemi: str, middle: "NDArray[np.floating]") -> None:
        own = self.xyz[self.voxels["hemi"].to_numpy() == hemi]
        if not len(own):
            return
        # From a sample of voxels: their nearest vertex must not be centimetres away.
        sample = own[:: max(1, len(own) // 200)]
        nearest = nearest_voxel_of_vertices(sample, middle, np.inf)
        apart = float(np.median(np.linalg.norm(sample - middle[nearest], axis=1)))
        if apart > _MAX_APART_MM:
            raise DataFormatError(
                f"{self.path}: surface {hemi} and volume are not in the same space, voxels lie {apart:.0f} mm from it in the median "
                "(missing c_ras shift, or the surface of someone else)"
            )

    def _surface_file(self, hemi: str, kind: str) -> Path | None:
        found = sorted((self.path / "anat").glob(f"{self.name}_*hemi-{hemi}*_{kind}.surf.gii"))
        return found[0] if found else None


def open_subject(path: Path, subject: str | None = None, *, nan: NanPolicy = "drop-voxels", zscore: "ZScore" = "auto") -> Subject:
    """Open one subject of a native folder.

    Checks in this order: dataset description, subject, table of trials against the responses, grids, labels of regions, images.

    Parameters
    ----------
    path : Path, the dataset folder or the subject's folder in it
    subject : str or None, "sub-01" or "01"; needed if there are several
    nan : {"drop-voxels", "keep", "error"}, what to do with voxels that have a response that is not finite. Dropped voxels are counted
        per region in `Subject.dropped`.
    zscore : {"auto", "none", "train", "run", "session"}, how responses are z-scored, see `PreparationSettings`; it changes no voxel table

    Raises
    ------
    MissingDataError
        If a file is missing or its content was not downloaded.
    DataFormatError
        If a file is not what it must be. The message names the file, what was found, what was expected and what to do.
    ConfigError
        If `subject` is not there, or is needed; if the trials cannot be z-scored as asked for.
    """
    root, given = find_root(Path(path))
    description = read_description(root)
    name = choose_subject(root, given, subject)
    folder = root / name
    func = folder / "func"
    betas = open_betas(func)
    trials = check_trials(betas.table, betas.path)
    volumes, descriptions, notes = read_area_volumes(func, betas.space)
    notes += betas.notes + _use_voxels(betas, func, volumes)
    hemi, said = read_hemispheres(func, betas.space, betas.ijk)
    stimuli = check_stimuli(
        read_table(root / "stimuli" / "stimuli.tsv", "stimulus table", ("stimulus_id", "file")), root / "stimuli" / "stimuli.tsv"
    )
    check_images(root, trials, stimuli)
    areas = with_unions({key: volume[tuple(betas.ijk.T)] for key, volume in volumes.items()})
    unit = betas.unit or str(betas.sidecar.get("Units") or "a.u.")
    how = resolve_zscore(zscore, unit)
    screen = screen_responses(betas, trials, how)
    kept, dropped = choose_voxels(screen, areas, unit, nan, betas.path)
    notes = [*notes, *said, *map(str, dropped), *scaling_notes(screen, areas, kept, unit, how)]
    for note in notes:
        logger.warning("%s: %s", folder, note)
    columns = np.flatnonzero(kept)
    return Subject(
        root=root,
        path=folder,
        name=name,
        space=betas.space,
        voxels=_voxel_table(betas, hemi)[kept].reset_index(drop=True),
        areas=_all_areas({key: mask[kept] for key, mask in areas.items()}, hemi[kept]),
        descriptions=_describe_areas(areas, descriptions, betas.sidecar),
        trials=trials,
        stimuli=stimuli,
        field_of_view_deg=field_of_view(stimuli, root / "stimuli" / "stimuli.tsv"),
        unit=unit if how == "none" else f"z-{how}",
        zscore=zscore,
        simulated=bool(betas.sidecar.get("Simulated", False)),
        title=str(description.get("Name", root.name)),
        dropped=dropped,
        notes=tuple(notes),
        _betas=betas,
        _columns=columns,
        _scaling=None if how == "none" else Scaling(screen.groups.group, screen.mean[:, columns], screen.deviation[:, columns]),
    )


def _use_voxels(betas: Betas, func: Path, volumes: "dict[str, NDArray[np.bool_]]") -> list[str]:
    """Check the brain mask against the grid; it decides the voxels of a 4-D NIfTI, an HDF5 file names its own."""
    masks = [path for path in nifti_files(func, "*_desc-brain_mask") if "hemi-" not in path.name]
    mask = read_mask(masks[0], "brain mask", betas.space) if masks else None
    if not isinstance(betas, NiftiBetas):
        return []
    if mask is None and not volumes:
        raise MissingDataError(
            f"{func} holds neither a brain mask (*_desc-brain_mask.nii.gz) nor regions; one of them must say which voxels to read"
        )
    betas.use_mask(np.logical_or.reduce(list(volumes.values())) if mask is None else mask)
    notes = [] if mask is not None else [f"{func} holds no brain mask; the voxels of all regions are read"]
    for key, volume in volumes.items():
        lost = int((volume & ~mask).sum()) if mask is not None else 0
        if lost:
            notes.append(f"{lost} of {int(volume.sum())} voxels of {key} lie outside the brain mask and are not read")
    return notes


def _describe_areas(areas: "Iterable[str]", descriptions: dict[str, str], sidecar: dict[str, Any]) -> dict[str, str]:
    """Give every area a text; that of a simulated subject says so."""
    simulated = "simulated " if sidecar.get("Simulated") else ""
    texts = {name: descriptions.get(name, f"{simulated}{name}") for name in areas}
    return {**texts, "L": "left hemisphere", "R": "right hemisphere", "all": "every voxel"}


def _voxel_table(betas: Betas, hemi: "NDArray[np.str_]") -> pd.DataFrame:
    xyz = betas.space.to_world(betas.ijk)
    columns = dict(zip("ijk", betas.ijk.T, strict=True)) | dict(zip("xyz", xyz.T, strict=True))
    return pd.DataFrame({**columns, "hemi": hemi})


def _all_areas(areas: "dict[str, NDArray[np.bool_]]", hemi: "NDArray[np.str_]") -> "dict[str, NDArray[np.bool_]]":
    sides: Iterable[tuple[str, NDArray[np.bool_]]] = (("L", hemi == "L"), ("R", hemi == "R"), ("all", np.ones(hemi.size, dtype=np.bool_)))
    return {**areas, **dict(sides)}
