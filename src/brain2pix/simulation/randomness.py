"""Named streams of random numbers: what one part draws never shifts what another part gets."""

import zlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Make the generator of one purpose.

    Parameters
    ----------
    seed : int
    *names : str or int, the purpose, e.g. ``"crops", "test", 3``
    """
    keys = [zlib.crc32(name.encode()) if isinstance(name, str) else int(name) for name in names]
    return np.random.default_rng([seed, *keys])
