"""Learning rate over the steps of a phase, as a factor on the first rate."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brain2pix.config.methods import ScheduleSettings


def rate_factor(step: int, n_steps: int, settings: "ScheduleSettings") -> float:
    """Give the factor on the base rate at one step.

    Parameters
    ----------
    step : int, 0..n_steps-1
    n_steps : int
    settings : ScheduleSettings
    """
    length = max(n_steps / settings.cycles, 1)
    rise = min(1.0, (step % length + 1) / (settings.warm_up + 1))
    done = step % length / length
    if settings.kind == "steps":
        return rise * settings.factor ** sum(done >= share for share in settings.milestones)
    if settings.kind == "cosine":
        return rise * (settings.floor + (1 - settings.floor) * (1 + math.cos(math.pi * done)) / 2)
    if settings.kind == "tail":
        begin = settings.milestones[0]
        fallen = max(0.0, (done - begin) / (1 - begin))
        return rise * (1 - (1 - settings.floor) * fallen)
    return rise
