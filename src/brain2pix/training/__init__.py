"""The training loop, checkpoints and the run folder.

Take names from the modules: `brain2pix.training.run_folder` needs no torch until a model is saved or loaded, `engine` and `checkpoint` do.
"""
