"""Scores of single reconstructions, against formulas written out here; what is written is what is read."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from brain2pix.data.image_scores import SCORES, cached_scores, fingerprint, read_image_scores, write_image_scores
from brain2pix.errors import DataFormatError, MissingDataError, ShapeError
from brain2pix.evaluation import images as module
from brain2pix.evaluation.images import score_images

IDS = [f"test-{number}" for number in range(9)]


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    stimuli = rng.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    noisy = np.clip(stimuli * 0.02 + rng.normal(100, 80, stimuli.shape), 0, 255).astype(np.uint8)
    return noisy, stimuli


def test_each_score_is_what_its_definition_says(pictures, monkeypatch) -> None:
    noisy, stimuli = pictures
    monkeypatch.setattr(module, "_BLOCK", 4)  # several blocks, the last one short
    found = score_images(noisy, stimuli, IDS, np.arange(9) // 3)
    r = np.array([[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in stimuli] for a in noisy.astype(float)])
    np.testing.assert_allclose(found.values["pixel_r"], np.diag(r), atol=1e-5)
    beaten = [(r[i, i] > np.delete(r[i], i)).mean() for i in range(9)]
    np.testing.assert_allclose(found.values["beaten"], beaten)
    assert 0.5 < np.mean(beaten) < 1 and np.unique(beaten).size > 2, "the example must not be trivial"
    for i in (0, 8):
        expected = structural_similarity(noisy[i], stimuli[i], win_size=7, data_range=255, channel_axis=-1)
        assert found.values["ssim"][i] == pytest.approx(expected, abs=1e-4)
        flat = np.broadcast_to(stimuli[i].mean(axis=(0, 1)), stimuli[i].shape)
        expected = structural_similarity(flat / 255, stimuli[i] / 255, win_size=7, data_range=1.0, channel_axis=-1)
        assert found.values["ssim_flat"][i] == pytest.approx(expected, abs=1e-4)
    assert found.n_photos == 3 and found.means["pixel_r"].low < found.means["pixel_r"].value < found.means["pixel_r"].high
    assert found.chance("beaten") == 0.5 and found.chance("ssim") == pytest.approx(found.values["ssim_flat"].mean())


def test_what_is_written_is_what_is_read(pictures, tmp_path) -> None:
    noisy, stimuli = pictures
    one = score_images(noisy, stimuli, IDS, np.zeros(9, dtype=int))  # a single photo: no interval
    lone = score_images(noisy[:1], stimuli[:1], IDS[:1], [0])  # nothing to identify it among
    write_image_scores(tmp_path, {"full": one, "lone": lone})
    back = read_image_scores(tmp_path)
    assert back["full"].fingerprint == fingerprint(noisy) != fingerprint(noisy[::-1])
    for name in SCORES:
        np.testing.assert_allclose(back["full"].values[name], one.values[name], atol=1e-5)
        assert back["full"].means[name].low is None and back["full"].means[name].value == pytest.approx(one.means[name].value)
    assert np.isnan(back["lone"].values["beaten"]).all() and np.isnan(back["lone"].means["beaten"].value)
    turned = back["full"].on(IDS[::-1])
    np.testing.assert_array_equal(turned.values["ssim"], back["full"].values["ssim"][::-1])
    with pytest.raises(DataFormatError, match="'other' was not scored"):
        back["full"].on(["other"])


def test_mistakes_are_named(pictures, tmp_path) -> None:
    noisy, stimuli = pictures
    with pytest.raises(ShapeError, match=r"9, 16, 16, 3.*8 names"):
        score_images(noisy, stimuli, IDS[:8], np.arange(9))
    with pytest.raises(MissingDataError, match=r"image_scores\.tsv does not exist"):
        read_image_scores(tmp_path)
    write_image_scores(tmp_path, {"full": score_images(noisy, stimuli, IDS, np.arange(9))})
    table = tmp_path / "image_scores.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataFormatError, match="8 lines of run full, expected 9"):
        read_image_scores(tmp_path)
    table.write_text("\n".join(line.rsplit("\t", 1)[0] for line in lines))
    with pytest.raises(DataFormatError, match="lacks the columns beaten"):
        read_image_scores(tmp_path)
    place = cached_scores(table)
    table.write_text("longer than before" * 30)
    assert cached_scores(table) != place
