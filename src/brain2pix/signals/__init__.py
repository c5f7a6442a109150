"""Response statistics: scaling, repeats, noise ceilings."""

from brain2pix.signals.ceilings import SplitHalfCeiling, ceiling_from_ncsnr, ncsnr, noise_ceiling_percent, split_half_ceiling
from brain2pix.signals.repeats import RepeatStatistics, repeat_statistics, snr_weights
from brain2pix.signals.zscore import statistics, zscore, zscore_by_group

__all__ = [
    "RepeatStatistics",
    "SplitHalfCeiling",
    "ceiling_from_ncsnr",
    "ncsnr",
    "noise_ceiling_percent",
    "repeat_statistics",
    "snr_weights",
    "split_half_ceiling",
    "statistics",
    "zscore",
    "zscore_by_group",
]
