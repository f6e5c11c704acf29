"""Randomness that does not depend on ranks, microbatches, or threads; `gather` with gradients.

A run on W ranks with M microbatches must equal a run on one rank with one microbatch. So a loss
draws its noise for the whole batch each time and keeps the rows of its microbatch and rank. A
statistic that is not a mean over examples, such as an MMD, is computed on the examples of all
ranks. The rows of the whole batch are ordered by microbatch, and within a microbatch by rank.

A run has two streams of random numbers. `noise` and `uniform` draw from generators of this package:
their k-th draw is a pure function of the run's seed, the player, its step, and k. Everything else,
such as dropout, draws from torch's default generators, which are seeded for each microbatch.
Outside a run, both draw from the default generators.
"""

from genzoo.distributed.keyed_draws import noise, uniform
from genzoo.distributed.ranks import (
    emulate_rank,
    gather,
    rank_and_world_size,
    replicated,
    share,
    whole_batch,
)

__all__ = [
    "emulate_rank",
    "gather",
    "noise",
    "rank_and_world_size",
    "replicated",
    "share",
    "uniform",
    "whole_batch",
]
