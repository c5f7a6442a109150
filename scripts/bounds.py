#!/usr/bin/env python3
"""What bounds the pictures of a demo: its linear map, made again with the simulator's own responses in place of the encoder's predictions.

usage: scripts/bounds.py demo-0 [--split validation]

Needs a finished demo of `retino` and its truth. The network is left out: this asks what the responses hold, not what a network guesses.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from brain2pix.compute.jobs._inputs import TrainedRun, open_run
from brain2pix.config.simulation import SimulationSettings
from brain2pix.data.splits import evaluation_set, training_data
from brain2pix.errors import Brain2PixError
from brain2pix.evaluation import score_row
from brain2pix.methods._local_map import ResponseMoments, solve_blocks
from brain2pix.methods._pictures import shrink
from brain2pix.methods.predictions import predict_responses
from brain2pix.methods.retino import Retino
from brain2pix.simulation.images import make_stimuli
from brain2pix.simulation.responses import fit_forward, noise_free
from brain2pix.simulation.truth import Truth, load_truth
from brain2pix.simulation.voxels import make_voxels

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def true_responses(truth: Truth, images: "NDArray[np.uint8]", voxels: "NDArray[np.int64]") -> "NDArray[np.float32]":
    """Noise-free responses of the simulated subject to images, in the subject's unit, [n v]."""
    settings = SimulationSettings.model_validate(truth.settings)
    stimuli = make_stimuli(settings)
    forward = fit_forward(make_voxels(settings), stimuli.images[stimuli.rows("train")], settings)
    raw = noise_free(forward, images, ["photo"] * len(images))[:, voxels]
    found: NDArray[np.float32] = ((raw - truth.mean[voxels]) / truth.sd[voxels]).astype(np.float32)
    return found


def local_map(method: Retino, responses: "NDArray[np.float32]", pictures: "Tensor", share: float) -> "tuple[Tensor, Tensor]":
    """Weights [v d] and offset [d] of the linear map that these responses to images give; `share`: expected errors of the responses."""
    linear, moments = method.options.decoder.linear, ResponseMoments()
    moments.add(torch.from_numpy(responses), pictures)
    n_voxels = responses.shape[1]
    both, means = moments.covariances().float(), moments.means().float()
    covariance, cross = both[:, :n_voxels], both[:, n_voxels:].reshape(n_voxels, *pictures.shape[1:])
    added = method.encoder.summary[:, 4] / linear.averaged_trials + share * covariance.diagonal()
    weight = solve_blocks(covariance + torch.diag(added), cross, method.distance_penalty(), linear.blocks).flatten(1)
    return weight, means[n_voxels:] - means[:n_voxels] @ weight


def rows(run: TrainedRun, truth: Truth, split: str) -> "list[tuple[str, NDArray[np.uint8]]]":
    """Reconstructions [m h w 3] of a split by each combination of map and responses."""
    method, voxels = run.method, run.voxel_index
    assert isinstance(method, Retino)
    shown = evaluation_set(run.subject, voxels, split, method.image_size)
    data = training_data(run.subject, image_size=method.image_size)
    assert data.unpaired is not None
    images = np.asarray(data.unpaired[: method.options.decoder.max_unpaired])
    pictures = shrink(images, method.options.decoder.linear.size)
    predicted = local_map(
        method, predict_responses(method, images).astype(np.float32), pictures, method.options.decoder.linear.error_shares[0]
    )
    perfect = local_map(method, true_responses(truth, images, voxels), pictures, 0.02)
    signal = truth.signal[split][:, voxels].astype(np.float32)
    own = predict_responses(method, shown.images).astype(np.float32)
    cases = (
        ("encoder, measured responses", predicted, shown.responses),
        ("encoder, its own predictions with the measured noise", predicted, own + shown.responses - signal),
        ("perfect encoder, measured responses", perfect, shown.responses),
        ("perfect encoder, responses without noise", perfect, signal),
    )
    return [(name, enlarged(torch.from_numpy(seen) @ weight + offset, method.image_size)) for name, (weight, offset), seen in cases]


def enlarged(flat: "Tensor", size: int) -> "NDArray[np.uint8]":
    """Small pictures [b 3*s*s] as images, uint8 [b h w 3]."""
    edge = round((flat.shape[1] / 3) ** 0.5)
    images = functional.interpolate(flat.view(-1, 3, edge, edge), size=size, mode="bilinear", align_corners=False).clamp(0, 1)
    made: NDArray[np.uint8] = (images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of a demo")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    arguments = parser.parse_args()
    try:
        run = open_run(arguments.demo / "runs" / "retino", None, "cpu")
        truth = load_truth(arguments.demo / "subject")
        if truth is None:
            parser.error(f"{arguments.demo}/subject-truth is missing; run `brain2pix demo` again")
        shown = evaluation_set(run.subject, run.voxel_index, arguments.split, run.method.image_size)
        print("| linear map | pixel 2 / 10 / 50-way / within photo [%] | SSIM | pixel r |\n|---|---|---|---|")
        for name, images in rows(run, truth, arguments.split):
            scores = score_row(images, shown.images, shown.groups, {})
            ways = scores.summary().pixel
            assert ways is not None
            numbers = " / ".join(f"{value:.1f}" for value in (ways.two, ways.ten, ways.fifty, ways.within_photo) if value is not None)
            print(f"| {name} | {numbers} | {scores.ssim.mean():.3f} | {scores.pixel_r.mean():.3f} |", flush=True)
    except Brain2PixError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
