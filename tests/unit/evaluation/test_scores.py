import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brain2pix.arrays import RetinotopicMap
from brain2pix.errors import DataFormatError, MissingDataError, ShapeError
from brain2pix.evaluation import (
    RowScores,
    ScoreLine,
    Scores,
    compare_rows,
    difference_lines,
    encoder_accuracy,
    encoder_lines,
    format_table,
    low_resolution,
    make_scores,
    null_lines,
    prf_lines,
    read_lines,
    read_scores,
    reference_rows,
    resolution_equivalent,
    row_lines,
    score_map,
    score_row,
    scores_schema,
    write_lines,
    write_scores,
)

ROWS = ["full", "supervised", "images", "inductive", "ridge_pairs", "ridge_unpaired", "shuffled"]


@pytest.fixture
def photos(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """20 smooth pictures, 4 crops each of 5 "photos" that share a colour."""
    groups = np.repeat(np.arange(5), 4)
    colours = rng.uniform(0.2, 0.8, (5, 1, 1, 3))[groups]
    detail = low_resolution(np.clip(0.5 + 0.25 * rng.normal(size=(20, 16, 16, 3)), 0, 1), 6) - 0.5
    return np.clip(colours + 2 * detail, 0, 1), groups


def mean_colour(images: np.ndarray) -> list[np.ndarray]:
    return [images.mean(axis=(1, 2))]


def blocks(images: np.ndarray) -> list[np.ndarray]:
    return [images.reshape(len(images), 4, 4, 4, 4, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)]


@pytest.fixture
def row(photos: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> RowScores:
    images, groups = photos
    made = np.clip(images + 0.1 * rng.normal(size=images.shape), 0, 1)
    return score_row(made, images, groups, {"colour": mean_colour, "blocks": blocks})


def test_scores_json_has_exactly_the_fields_of_its_description(tmp_path: Path, row: RowScores) -> None:
    write_scores(tmp_path / "scores.json", make_scores("tiny", 3, "retino", rows={"full": row}, seconds={"simulate": 1.5}))
    values = json.loads((tmp_path / "scores.json").read_text())
    parts = ["encoder", "prf", "prf_rows", "identification", "ssim", "pixel_r", "microstimulation", "seconds"]
    assert list(values) == ["preset", "seed", "method", *parts]
    assert list(values["encoder"]) == ["median_r", "median_r_over_ceiling"]
    assert list(values["prf"]) == [
        *("kept", "median_error_deg", "median_angle_error_deg", "fisher_lee", "log_ecc_r", "hemifield", "null_angle_error_deg")
    ]
    assert list(values["prf_rows"]) == ["full", "untrained", "noise_inputs", "permuted"]
    assert list(values["identification"]) == list(values["ssim"]) == list(values["pixel_r"]) == ROWS
    assert list(values["identification"]["full"]) == ["pixel", "independent"]
    assert list(values["identification"]["full"]["pixel"]) == ["2", "10", "50", "within_photo"]
    assert list(values["microstimulation"]) == ["quadrant_share", "rows", "control"]
    assert list(values["microstimulation"]["rows"]) == list(values["microstimulation"]["control"]) == ROWS
    assert values["seconds"] == {"simulate": 1.5}


def test_what_was_not_computed_is_null(row: RowScores) -> None:
    values = make_scores("tiny", 0, "gaziv", rows={"full": row, "true image at 4 x 4 px": row}).model_dump(by_alias=True)
    assert values["identification"]["supervised"] is None
    assert values["ssim"]["shuffled"] is None
    assert values["encoder"]["median_r"] is None
    assert values["prf"]["null_angle_error_deg"] is None
    assert values["identification"]["full"]["pixel"]["50"] is None  # only 20 images
    assert 50 < values["identification"]["full"]["pixel"]["10"] <= 100  # percent


def test_numbers_reach_their_fields(rng: np.random.Generator) -> None:
    measured = rng.normal(size=(20, 8))
    accuracy = encoder_accuracy(measured + rng.normal(size=measured.shape), measured, np.full(8, 0.8))
    truth = RetinotopicMap(*rng.uniform(1, 3, (4, 50)).astype(np.float32), field_of_view_deg=12)
    prf = score_map(truth, truth)
    maps = {"full": prf, "permuted": replace(prf, median_angle_error_deg=88.0)}
    scores = make_scores(
        "demo", 1, "gaziv", encoder=accuracy, prf=maps, shares={"full": 0.7, "ridge_pairs": 0.3}, control_shares={"full": 0.2}
    )
    assert scores.encoder.median_r == pytest.approx(accuracy.median_r)
    assert scores.encoder.median_r_over_ceiling == pytest.approx(accuracy.median_r / 0.8)
    assert (scores.prf.kept, scores.prf.median_error_deg, scores.prf.null_angle_error_deg) == (pytest.approx(0.84, abs=0.011), 0, 88)
    assert scores.prf_rows.full is not None and scores.prf_rows.permuted is not None
    assert (scores.prf_rows.full.size_spearman, scores.prf_rows.permuted.median_angle_error_deg) == (pytest.approx(1), 88)
    assert scores.prf_rows.untrained is None
    stimulation = scores.microstimulation
    assert (stimulation.quadrant_share, stimulation.rows.full, stimulation.rows.ridge_pairs) == (0.7, 0.7, 0.3)
    assert (stimulation.control.full, stimulation.control.ridge_pairs) == (0.2, None)


def test_a_sheet_written_before_the_later_rows_is_read(tmp_path: Path) -> None:
    old = {
        "preset": "demo",
        "seed": 0,
        "method": "gaziv",
        "encoder": {"median_r": 0.8, "median_r_over_ceiling": 0.9},
        "prf": {"kept": 0.85, "median_error_deg": 0.5, "null_angle_error_deg": 90.0},
        "identification": {
            "full": {"pixel": {"2": 90.0, "10": 60.0, "50": 30.0, "within_photo": 50.0}, "independent": None},
            "images": None,
        },
        "ssim": {"full": 0.25, "shuffled": None},
        "microstimulation": {"quadrant_share": 0.55},
        "seconds": {"train": 1.0},
    }
    (tmp_path / "scores.json").write_text(json.dumps(old))
    scores = read_scores(tmp_path / "scores.json")
    assert (scores.ssim.full, scores.ssim.inductive, scores.pixel_r.full, scores.prf_rows.full) == (0.25, None, None, None)
    assert scores.microstimulation.rows.full is None
    assert "quadrant_share" in format_table(scores)


def test_a_score_that_is_not_a_number_becomes_null() -> None:
    assert make_scores("tiny", 0, "gaziv", shares={"full": float("nan")}).microstimulation.quadrant_share is None


def test_written_scores_are_read_back(tmp_path: Path, row: RowScores) -> None:
    scores = make_scores("demo", 0, "ridge", rows={"full": row, "ridge_pairs": row})
    write_scores(tmp_path / "scores.json", scores)
    assert read_scores(tmp_path / "scores.json") == scores


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"microstimulation": {"quadrant_share": 82}}, "quadrant_share: .*less than or equal to 1"),
        ({"identification": {"full": {"pixel": {"2": 101}}}}, "identification.full.pixel.2.*less than or equal to 100"),
        ({"prf": {"angle": 3}}, "prf.angle: Extra inputs"),
    ],
)
def test_scores_out_of_schema_are_refused(tmp_path: Path, change: dict[str, object], text: str) -> None:
    file = tmp_path / "scores.json"
    file.write_text(json.dumps({"preset": "demo", "seed": 0, "method": "gaziv"} | change))
    with pytest.raises(DataFormatError, match=f"{re.escape(str(file))} does not follow the schema of scores.json: .*{text}"):
        read_scores(file)


def test_missing_or_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"scores\.json does not exist"):
        read_scores(tmp_path / "scores.json")
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(DataFormatError, match=r"scores\.json is not valid JSON"):
        read_scores(tmp_path / "scores.json")
    with pytest.raises(MissingDataError, match=r"scores\.tsv does not exist"):
        read_lines(tmp_path / "scores.tsv")
    (tmp_path / "scores.tsv").write_text("part\trow\n")
    with pytest.raises(DataFormatError, match="lacks the columns chance"):
        read_lines(tmp_path / "scores.tsv")


def test_schema_names_every_field() -> None:
    schema = scores_schema()
    assert set(schema["properties"]) == set(Scores.model_fields)
    assert set(schema["$defs"]["Ways"]["properties"]) == {"2", "10", "50", "within_photo"}


def test_independent_is_the_worse_network(row: RowScores) -> None:
    assert row.networks == ["colour", "blocks"]
    assert row.worst_network("within_photo") == "colour"  # crops of a photo share their colour
    summary = row.summary()
    assert summary.independent is not None
    assert summary.independent.within_photo == pytest.approx(100 * row.identification["colour"]["within_photo"].mean())
    for ways, field in (("2", "two"), ("10", "ten")):
        worse = min(row.identification[name][ways].mean() for name in ("colour", "blocks"))
        assert getattr(summary.independent, field) == pytest.approx(100 * worse)


def test_row_without_networks_has_no_independent_score(photos: tuple[np.ndarray, np.ndarray]) -> None:
    images, groups = photos
    plain = score_row(images, images, groups)
    assert plain.summary().independent is None
    assert plain.interval("independent", "10") is None
    assert plain.summary().pixel is not None
    assert plain.summary().pixel.within_photo == 100  # type: ignore[union-attr]
    assert plain.ssim == pytest.approx(1)


def test_differences_are_paired(photos: tuple[np.ndarray, np.ndarray], row: RowScores) -> None:
    images, groups = photos
    poor = score_row(low_resolution(images, 1), images, groups, {"colour": mean_colour, "blocks": blocks})
    gain = compare_rows(row, poor, "ssim", "")
    assert gain is not None
    assert gain.mean == pytest.approx(row.ssim.mean() - poor.ssim.mean())
    within = compare_rows(row, poor, "pixel", "within_photo")
    assert within is not None
    assert within.mean > 20
    same = compare_rows(row, row, "independent", "10")
    assert same is not None
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    assert compare_rows(row, poor, "alexnet", "10") is None


def test_resolution_in_words(photos: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = photos
    between = low_resolution(images, 4) + 0.3 * (low_resolution(images, 5) - low_resolution(images, 4))
    assert resolution_equivalent(between, images) == "between the true image at 4 x 4 and at 5 x 5 px"
    assert resolution_equivalent(low_resolution(images, 4), images) == "like the true image at 4 x 4 px"
    assert resolution_equivalent(images, images) == "like the true image at 16 x 16 px"
    assert resolution_equivalent(images, images, (1, 2, 3)) == "above the true image at 3 x 3 px"
    assert resolution_equivalent(low_resolution(images, 2), images, ways=10) == "like the true image at 2 x 2 px"
    assert resolution_equivalent(1 - images, images) == "below the true image at 1 x 1 px"


def test_lines_carry_interval_chance_and_n(tmp_path: Path, row: RowScores) -> None:
    lines = row_lines("full", row) + difference_lines({"full": row, "supervised": row}, [("full", "supervised"), ("full", "absent")])
    ten = next(line for line in lines if line.score == "pixel 10-way")
    assert (ten.unit, ten.chance, ten.n) == ("%", 10, 20)
    assert ten.low is not None and ten.high is not None
    assert ten.low <= ten.value <= ten.high
    assert next(line for line in lines if line.score == "pixel within photo").chance == 25
    assert {line.row for line in lines if line.part == "difference"} == {"full - supervised"}
    write_lines(tmp_path / "scores.tsv", lines)
    back = read_lines(tmp_path / "scores.tsv")
    assert [(line.row, line.score, line.n, line.note) for line in back] == [(line.row, line.score, line.n, line.note) for line in lines]
    assert [line.value for line in back] == pytest.approx([line.value for line in lines], rel=1e-5)


def test_lines_of_encoder_and_maps_name_their_areas(rng: np.random.Generator) -> None:
    measured = rng.normal(size=(20, 50))
    areas = {"V1": np.arange(50) < 20, "V2": np.arange(50) >= 20}
    lines = encoder_lines(encoder_accuracy(measured, measured, np.ones(50), areas=areas))
    assert [(line.row, line.n) for line in lines if line.score == "median_r"] == [("full", 50), ("V1", 20), ("V2", 30)]
    truth = RetinotopicMap(*rng.uniform(1, 3, (4, 50)).astype(np.float32), field_of_view_deg=12)
    prf = prf_lines(score_map(truth, truth, areas=areas))
    error = [line for line in prf if line.score == "median_angle_error_deg"]
    assert [line.row for line in error] == ["full", "V1", "V2"]
    assert {(line.unit, line.chance) for line in error} == {("deg", 90.0)}
    other = prf_lines(score_map(truth, truth, areas=areas), "permuted")
    assert {line.row for line in other} == {"permuted", "permuted V1", "permuted V2"}


def test_the_null_band_holds_a_row_that_knows_nothing(photos: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    images, groups = photos
    blind = score_row(rng.uniform(size=images.shape), images, groups, {"colour": mean_colour})
    lines = {(line.part, line.score): line for line in null_lines("shuffled", blind) + row_lines("shuffled", blind)}
    null, sd = lines["null", "pixel 10-way"], lines["null", "pixel 10-way SD"]
    assert null.value == pytest.approx(10, abs=0.5)  # chance, whatever was reconstructed
    assert null.low is not None and null.high is not None
    assert null.low < lines["identification", "pixel 10-way"].value < null.high
    assert sd.value == pytest.approx((null.high - null.low) / 4, rel=0.35)  # about a normal's
    assert ("null", "independent 10-way") in lines
    few = score_row(images[:8], images[:8], groups[:8])
    assert null_lines("full", few) == []


def test_references_are_what_their_names_say(photos: tuple[np.ndarray, np.ndarray]) -> None:
    images, groups = photos
    found = reference_rows(images, groups)
    flat = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    by_hand = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(flat, images, strict=True)]
    assert found["flat picture, mean colour"].pixel_r == pytest.approx(by_hand, abs=1e-5)
    assert found["flat picture, mean colour"].ssim.mean() == pytest.approx(found["true image at 4 x 4 px"].flat_ssim)
    means = [found[name].pixel_r.mean() for name in ("flat picture, mean colour", "true image at 4 x 4 px", "true image at 6 x 6 px")]
    assert means == sorted(means)
    notes = [line.note for line in row_lines("4", found["true image at 4 x 4 px"]) if line.part == "pixel_r"]
    assert notes == ["like the true image at 4 x 4 px"]


def test_broken_lines_are_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "scores.tsv", [ScoreLine("ssim", "full", "ssim", 0.4)])
    text = (tmp_path / "scores.tsv").read_text()
    (tmp_path / "scores.tsv").write_text(text.replace("0.4", "many"))
    with pytest.raises(DataFormatError, match=r"scores\.tsv, line 2: could not convert"):
        read_lines(tmp_path / "scores.tsv")


def test_table_shows_values_and_leaves_dashes(row: RowScores) -> None:
    scores = make_scores("demo", 7, "gaziv", rows={"full": row}, shares={"full": 0.815, "supervised": 0.512}, seconds={"train": 12.34})
    table = format_table(scores, row_lines("full", row) + difference_lines({"full": row, "shuffled": row}, [("full", "shuffled")]))
    lines = table.splitlines()
    assert lines[0] == "gaziv - preset demo - seed 7 - simulated subject"
    full = next(line for line in lines if line.startswith("  full "))
    assert scores.identification.full is not None and scores.identification.full.pixel is not None
    assert f"{scores.identification.full.pixel.ten:.1f}" in full.split()
    assert next(line for line in lines if line.startswith("  ridge on pairs")).split().count("-") == 9
    stimulation = table[table.index("Microstimulation") :].splitlines()
    assert stimulation[1].split() == ["full", "0.815", "-"]
    assert stimulation[2].split()[-2:] == ["0.512", "-"]
    assert "Receptive fields by row" not in table
    assert "12.3" in table
    assert "full - shuffled" in table
    assert "measured subject" in format_table(scores, simulated=False)


def test_groups_of_another_length_are_refused(photos: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ShapeError, match=r"20 images need one group \(photograph\) each, got shape \(3,\)"):
        score_row(photos[0], photos[0], [0, 1, 2])
