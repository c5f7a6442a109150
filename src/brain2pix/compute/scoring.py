"""Score the runs of a demo against the truth of its simulated subject (spec: docs/scores.md)."""

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.arrays import RetinotopicMap
from brain2pix.compute.demo_folder import photo_folds
from brain2pix.compute.jobs._inputs import TrainedRun, open_run
from brain2pix.compute.sheet_rows import SheetRow, open_row
from brain2pix.data.image_scores import write_image_scores
from brain2pix.data.maps import read_maps
from brain2pix.data.splits import EvaluationSet, evaluation_set
from brain2pix.evaluation import (
    CortexScores,
    EncoderAccuracy,
    FieldAgreement,
    PRFScores,
    RowScores,
    ScoreLine,
    Scores,
    Sheet,
    agreement_lines,
    compare_maps,
    cortex_lines,
    difference_lines,
    encoder_accuracy,
    encoder_lines,
    make_scores,
    null_lines,
    prf_lines,
    reference_rows,
    row_lines,
    score_cortex,
    score_map,
    score_row,
    write_lines,
    write_scores,
)
from brain2pix.evaluation.images import score_images
from brain2pix.evaluation.scores import ROWS
from brain2pix.files import atomic_path, write_json
from brain2pix.methods.predictions import predict_responses
from brain2pix.signals.ceilings import split_half_ceiling
from brain2pix.simulation.truth import Truth, load_truth
from brain2pix.stimulation import QuadrantExperiment, ResponseSpace, quadrant_experiment, quadrant_masks, space_of
from brain2pix.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.compute.demo_folder import Demo
    from brain2pix.data.subject import Subject

AREAS = ("V1", "V2", "V3")
_COMPARED = [("full", other) for other in ("supervised", "ridge_unpaired", "ridge_pairs", "images", "inductive")]
_ENCODERS = {"full": "full", "untrained": "untrained", "permuted": "null"}  # rows of the encoder's scores: run folder
_MAPS = {"full": "maps", "untrained": "untrained_maps", "noise_inputs": "noise_maps", "permuted": "null_maps"}
N_BASE = 10  # base patterns of the microstimulation


@dataclass
class DemoResults:
    """What a demo has so far: its rows, the test set, the truth if it was not deleted. Everything is computed once, when asked for.

    Parameters
    ----------
    demo : Demo
    full : TrainedRun, the method's own run
    systems : dict of row of the sheet to SheetRow, in the sheet's order
    test : EvaluationSet
    truth : Truth or None
    """

    demo: "Demo"
    full: TrainedRun
    systems: dict[str, SheetRow]
    test: EvaluationSet
    truth: Truth | None
    _decoded: "dict[str, NDArray[np.uint8]]" = field(default_factory=dict)

    @classmethod
    def open(cls, demo: "Demo") -> "DemoResults":
        """Load every row that is trained."""
        full = open_run(demo.run_folder("full"), None, "auto")
        test = evaluation_set(full.subject, full.voxel_index, "test", full.method.image_size)
        whole = np.zeros(len(test.images), dtype=np.int64)
        systems = {"full": SheetRow((full,), whole, test.stimulus_ids)}
        for row in ROWS[1:]:
            folders, part = ((demo.run_folder(row),), whole) if row != "inductive" else (demo.fold_folders(), photo_folds(test.groups))
            if (found := open_row(folders, part, test.stimulus_ids)) is not None:
                systems[row] = found
        return cls(demo, full, systems, test, load_truth(demo.subject))

    @property
    def subject(self) -> "Subject":
        """The simulated subject."""
        return self.full.subject

    @property
    def voxel_index(self) -> "NDArray[np.int64]":
        """Rows of the subject's voxel table that all runs read, [v]."""
        return self.full.voxel_index

    @property
    def areas(self) -> "dict[str, NDArray[np.bool_]]":
        """Masks of the visual areas, [v]."""
        return {name: self.subject.areas[name][self.voxel_index] for name in AREAS if name in self.subject.areas}

    @cached_property
    def scope(self) -> "NDArray[np.bool_]":
        """Voxels that scores speak of, [v]: those whose true centre lies on the stimulus."""
        if self.truth is None:
            return np.ones(len(self.voxel_index), dtype=bool)
        return self.truth.in_scope[self.voxel_index]

    @cached_property
    def true_map(self) -> RetinotopicMap | None:
        """True receptive fields, [v], with the effective size sigma / sqrt(n); None if the truth was deleted."""
        if self.truth is None:
            return None
        parts = (getattr(self.truth, name)[self.voxel_index].astype(np.float32) for name in ("x0_deg", "y0_deg", "size_deg"))
        x0, y0, size = parts
        return RetinotopicMap(x0, y0, size, np.ones_like(x0), self.subject.field_of_view_deg, "truth", "simulated truth")

    @cached_property
    def estimated_map(self) -> RetinotopicMap:
        """Receptive fields of the trained encoder, [v]."""
        return self._map("maps")

    def _map(self, name: str) -> RetinotopicMap:
        return read_maps(self._map_folder(name)).on(self.subject, self.voxel_index)

    def _map_folder(self, name: str) -> "Path":
        return self.demo.path / "runs" / name / "results"

    def decoded(self, row: str) -> "NDArray[np.uint8]":
        """Reconstructions of the test images by one row, uint8 [m h w 3]."""
        if row not in self._decoded:
            self._decoded[row] = self.systems[row].decode(self.test.responses, self.demo.cancel)
        return self._decoded[row]

    def write_reconstructions(self) -> "Path":
        """Write what the window and other programs show: stimuli beside reconstructions of every row, and the scores of each."""
        path = self.demo.path / "results" / "reconstructions.npz"
        arrays: dict[str, Any] = {f"reconstructions_{row}": self.decoded(row) for row in self.systems if row != "full"}
        arrays |= {"stimulus_ids": np.array(self.test.stimulus_ids), "stimuli": self.test.images, "reconstructions": self.decoded("full")}
        with atomic_path(path) as beside:
            np.savez_compressed(beside, **arrays)
        test = self.test
        rows = {row: score_images(self.decoded(row), test.images, test.stimulus_ids, test.groups) for row in self.systems}
        write_image_scores(path.parent, rows)
        return path

    @cached_property
    def _judges(self) -> "dict[str, Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]]":
        from brain2pix.evaluation.functional import independent_networks, network_features

        return {name: partial(network_features, network) for name, network in independent_networks().items()}

    @cached_property
    def rows(self) -> dict[str, RowScores]:
        """Scores of each row's reconstructions, image by image."""
        return {row: score_row(self.decoded(row), self.test.images, self.test.groups, self._judges) for row in self.systems}

    @cached_property
    def references(self) -> dict[str, RowScores]:
        """Scores of the true images at low resolution and of flat pictures."""
        return reference_rows(self.test.images, self.test.groups, self._judges)

    @cached_property
    def encoders(self) -> dict[str, EncoderAccuracy]:
        """Prediction of the test responses, beside their ceiling: full, and those of untrained and permuted encoders that are there."""
        folders = {row: self.demo.run_folder(name) for row, name in _ENCODERS.items()}
        runs = {row: open_run(folder, None, "auto") for row, folder in folders.items() if RunFolder(folder).model.is_dir()}
        return {row: self._accuracy(run) for row, run in runs.items()}

    def _accuracy(self, run: TrainedRun) -> EncoderAccuracy:
        predicted = predict_responses(run.method, self.test.images, self.demo.cancel).astype(np.float32)
        return encoder_accuracy(predicted, self.test.responses, self.ceiling, scope=self.scope, areas=self.areas)

    @cached_property
    def ceiling(self) -> "NDArray[np.float32]":
        """Largest correlation with the mean test responses that noise allows, [v]."""
        return split_half_ceiling(self.test.repeats.values, self.test.repeats.image_index).ceiling

    @property
    def encoder(self) -> EncoderAccuracy:
        """The method's own encoder."""
        return self.encoders["full"]

    @cached_property
    def prf_rows(self) -> dict[str, PRFScores]:
        """Receptive fields against the truth, for each map that is there; empty if the truth was deleted."""
        if self.true_map is None:
            return {}
        found = {row: self._map(name) for row, name in self._maps.items()}
        return {row: score_map(estimate, self.true_map, scope=self.scope, areas=self.areas) for row, estimate in found.items()}

    @cached_property
    def sheets(self) -> list[Sheet]:
        """Cortex of both hemispheres with its areas, for scores and figures that follow the surface."""
        return cortex_sheets(self.subject, self.voxel_index)

    @cached_property
    def cortex_rows(self) -> dict[str, CortexScores]:
        """What each map shows on the cortex; empty if the truth was deleted."""
        if self.true_map is None:
            return {}
        return {row: score_cortex(self.sheets, self._map(name), self.true_map, scope=self.scope) for row, name in self._maps.items()}

    @property
    def _maps(self) -> dict[str, str]:
        """Rows of the maps that are there, and their folders' names."""
        return {row: name for row, name in _MAPS.items() if self._map_folder(name).is_dir()}

    @cached_property
    def decoder_map(self) -> RetinotopicMap | None:
        """Where each voxel writes in the decoded picture, [v]; None before that is mapped."""
        folder = self._map_folder("decoder_maps")
        return read_maps(folder, "decoder").on(self.subject, self.voxel_index) if folder.is_dir() else None

    @cached_property
    def decoder_agreement(self) -> FieldAgreement | None:
        """Fields of the decoder against those of the encoder, voxels in scope."""
        return compare_maps(self.decoder_map, self.estimated_map, scope=self.scope) if self.decoder_map else None

    @property
    def prf(self) -> PRFScores | None:
        """Receptive fields of the trained encoder against the truth; None if the truth was deleted."""
        return self.prf_rows.get("full")

    @cached_property
    def microstimulation(self) -> dict[str, QuadrantExperiment]:
        """Quadrant stimulation of each row, with its control; empty if the truth was deleted.

        Base patterns are single test trials of ten images, two of each photo, for single test trials also set the largest amplitude.
        """
        if self.true_map is None:
            return {}
        masks = quadrant_masks(self.true_map, self.scope)
        repeats, images = self.test.repeats, self.spread(N_BASE)
        base = repeats.values[[int(np.flatnonzero(repeats.image_index == image)[0]) for image in images]]
        return {
            row: quadrant_experiment(
                system.decoder_of(images), base, masks, self.response_space, candidates=self.scope, seed=self.demo.seed
            )
            for row, system in self.systems.items()
        }

    @cached_property
    def response_space(self) -> ResponseSpace:
        """What measured responses look like: training trials, with single test trials as the measure of what is usual."""
        return space_of(self.subject, self.voxel_index)

    def spread(self, n: int) -> "NDArray[np.int64]":
        """Rows of n test images, taken from all photos in turn."""
        groups = self.test.groups
        rank = np.array([int((groups[:row] == group).sum()) for row, group in enumerate(groups)])
        return np.lexsort((groups, rank))[:n]

    def scores(self) -> Scores:
        """Gather ``scores.json``."""
        stimulated = self.microstimulation
        return make_scores(
            self.demo.preset,
            self.demo.seed,
            self.full.method.name,
            encoder=self.encoder,
            prf=self.prf_rows,
            rows=self.rows,
            shares={row: outcome.quadrant_share for row, outcome in stimulated.items()},
            control_shares={row: outcome.control_share for row, outcome in stimulated.items()},
            seconds=self.demo.seconds,
        )


def write_all_scores(results: DemoResults) -> "Path":
    """Write ``scores.json``, the tidy ``scores.tsv`` with intervals, and the record of the stimulation."""
    lines = [line for name, row in {**results.rows, **results.references}.items() for line in row_lines(name, row)]
    lines += [line for name, row in results.rows.items() for line in null_lines(name, row)]
    lines += difference_lines(results.rows, _COMPARED)
    lines += [line for name, accuracy in results.encoders.items() for line in encoder_lines(accuracy, name)]
    lines += [line for name, part in results.prf_rows.items() for line in prf_lines(part, name)]
    lines += [line for name, cortex in results.cortex_rows.items() for line in cortex_lines(cortex, name)]
    lines += agreement_lines(results.decoder_agreement) if results.decoder_agreement else []
    lines += [line for row, outcome in results.microstimulation.items() for line in stimulation_lines(row, outcome)]
    folder = results.demo.path
    write_lines(folder / "scores.tsv", lines)
    if results.microstimulation:
        write_json(folder / "results" / "stimulation.json", _stimulation_record(results))
    path = folder / "scores.json"
    write_scores(path, results.scores())
    return path


def cortex_sheets(subject: "Subject", voxel_index: "NDArray[np.int64]") -> list[Sheet]:
    """Cortex of both hemispheres: the voxel each vertex shows, and the areas.

    Parameters
    ----------
    subject : Subject
    voxel_index : int array, [v], voxels of the map
    """
    return [_sheet(subject, voxel_index, hemi) for hemi in "LR"]


def _sheet(subject: "Subject", voxel_index: "NDArray[np.int64]", hemi: str) -> Sheet:
    """One hemisphere; a vertex belongs to the area of its nearest voxel, also where that lies outside the stimulus."""
    row = np.full(subject.n_voxels + 1, -1, dtype=np.int64)  # the last one stands for "no voxel"
    row[voxel_index] = np.arange(len(voxel_index))
    place = subject.vertex_voxels(hemi)
    white = subject.mesh(hemi, "white")
    return Sheet(
        hemi=hemi,
        vertices=(white.vertices + subject.mesh(hemi, "pial").vertices) / 2,
        faces=white.faces,
        voxel=row[place],
        areas={name: (place >= 0) & mask[place] for name, mask in subject.areas.items() if name.rstrip("dv") in AREAS},
        voxel_xyz=subject.xyz[voxel_index],
        own=subject.voxels["hemi"].to_numpy()[voxel_index] == hemi,
    )


def stimulation_lines(row: str, outcome: QuadrantExperiment) -> list[ScoreLine]:
    """Lines of a quadrant stimulation: all quadrants, each of them, and the control."""
    n = sum(len(shares) for shares in outcome.shares.values())
    parts = {row: outcome.quadrant_share, f"{row}, random voxels": outcome.control_share}
    lines = [ScoreLine("microstimulation", name, "quadrant_share", share, chance=0.25, n=n) for name, share in parts.items()]
    for quadrant, shares in outcome.shares.items():
        mean = float(np.nanmean(shares))
        lines.append(ScoreLine("microstimulation", row, f"quadrant_share {quadrant}", mean, chance=0.25, n=len(shares)))
    return lines


def _stimulation_record(results: DemoResults) -> dict[str, object]:
    outcome = results.microstimulation["full"]
    return {
        "statement": "prediction of a model, not of a brain; simulated subject",
        "base": [results.test.stimulus_ids[row] for row in results.spread(N_BASE)],
        "mode": "add",
        "n_voxels": outcome.n_voxels,
        "amplitudes": {quadrant: values.tolist() for quadrant, values in outcome.amplitudes.items()},
        "excess": {quadrant: values.tolist() for quadrant, values in outcome.excess.items()},
        "quadrant_share": {quadrant: values.tolist() for quadrant, values in outcome.shares.items()},
        "control_share": {quadrant: values.tolist() for quadrant, values in outcome.control_shares.items()},
    }
