"""Train the toy in its own process: toy_train.py FOLDER TOY_SETTINGS TRAINING_SETTINGS [LIMIT_BYTES]. Events go out as JSON lines."""

import json
import os
import resource
import sys
from pathlib import Path

import torch
from toy_method import ToySettings, register, toy_data

from brain2pix.config.training import TrainingSettings
from brain2pix.events import CancelToken, to_dict
from brain2pix.methods.base import TrainingContext
from brain2pix.methods.registry import make_method
from brain2pix.training.engine import seed_everything, train
from brain2pix.training.run_folder import RunFolder


def main():
    folder = RunFolder(Path(sys.argv[1]))
    if len(sys.argv) > 4:  # no file may grow beyond this: the same error path as a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
    torch.set_num_threads(1)
    register()
    seed_everything(3, "make")
    data = toy_data()
    method = make_method("toy", ToySettings(**json.loads(sys.argv[2])), [data.subject], data.image_size)

    def sink(event):
        print(json.dumps(to_dict(event)), flush=True)

    context = TrainingContext(torch.device("cpu"), 3, sink, CancelToken(folder.cancel))
    outcome = train(method, data, context, folder, TrainingSettings(**json.loads(sys.argv[3])))
    print(json.dumps({"kind": "outcome", "outcome": outcome}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
