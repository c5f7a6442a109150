"""Honest numbers: identification, similarity, encoder accuracy, receptive fields, intervals, and the sheet they are written to.

`functional` (features of untrained networks) loads torch and is imported by name: ``from brain2pix.evaluation.functional import ...``.
"""

from brain2pix.evaluation.cortex import (
    CortexScores,
    Profile,
    Sheet,
    angle_profile,
    cortex_lines,
    field_sign_map,
    score_cortex,
)
from brain2pix.evaluation.encoding import EncoderAccuracy, encoder_accuracy, voxel_correlation
from brain2pix.evaluation.identification import (
    chance_within_groups,
    exact_identification,
    identification_matrix,
    mean_rank,
    permutation_null,
    within_groups,
)
from brain2pix.evaluation.metrics import as_images, feature_similarity, low_resolution, pixel_correlation, pixel_r, structural
from brain2pix.evaluation.report import (
    ScoreLine,
    difference_lines,
    encoder_lines,
    format_table,
    make_scores,
    null_lines,
    prf_lines,
    read_lines,
    row_lines,
    write_lines,
)
from brain2pix.evaluation.retinotopy import (
    FieldAgreement,
    PRFScores,
    agreement_lines,
    angle_error_deg,
    compare_maps,
    fisher_lee,
    keep_best,
    score_map,
)
from brain2pix.evaluation.rows import RowScores, compare_rows, reference_rows, resolution_equivalent, score_row
from brain2pix.evaluation.scores import Scores, read_scores, scores_schema, write_scores
from brain2pix.evaluation.statistics import Interval, bootstrap_interval, holm, paired_difference, wilcoxon_p

__all__ = [
    "CortexScores",
    "EncoderAccuracy",
    "FieldAgreement",
    "Interval",
    "PRFScores",
    "Profile",
    "RowScores",
    "ScoreLine",
    "Scores",
    "Sheet",
    "agreement_lines",
    "angle_error_deg",
    "angle_profile",
    "as_images",
    "bootstrap_interval",
    "chance_within_groups",
    "compare_maps",
    "compare_rows",
    "cortex_lines",
    "difference_lines",
    "encoder_accuracy",
    "encoder_lines",
    "exact_identification",
    "feature_similarity",
    "field_sign_map",
    "fisher_lee",
    "format_table",
    "holm",
    "identification_matrix",
    "keep_best",
    "low_resolution",
    "make_scores",
    "mean_rank",
    "null_lines",
    "paired_difference",
    "permutation_null",
    "pixel_correlation",
    "pixel_r",
    "prf_lines",
    "read_lines",
    "read_scores",
    "reference_rows",
    "resolution_equivalent",
    "row_lines",
    "score_cortex",
    "score_map",
    "score_row",
    "scores_schema",
    "structural",
    "voxel_correlation",
    "wilcoxon_p",
    "within_groups",
    "write_lines",
    "write_scores",
]
