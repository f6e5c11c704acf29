"""The rank and the key of a thread, and of the threads that work for it."""

import _thread
import os
import queue
import threading

import torch

from genzoo import distributed
from genzoo.distributed import emulate_rank, noise, random_state, ranks
from genzoo.distributed.keyed_draws import draws
from genzoo.distributed.random_state import exclusive
from tests.distributed.test_random_state import at_once

CPU = torch.device("cpu")
LIKE = torch.zeros(())


def test_rank_and_key_belong_to_one_thread_at_a_time():
    entered, order, seen = threading.Event(), [], []

    def run():
        with emulate_rank(1, 2):
            for turn in range(2):
                with draws(CPU, "seed", part=1, parts=2):
                    order.append(turn)
                    entered.set()
                    # wait until the other thread waits
                    while turn == 0 and not random_state._turns.queue.locked():
                        os.sched_yield()

    def other():
        entered.wait()
        seen.append(
            (
                distributed.rank_and_world_size(),
                distributed.share(),
                ranks.current().keyed,
            )
        )
        with exclusive():
            order.append("other")

    at_once(run, other)
    assert seen == [((0, 1), (0, 1), False)]
    assert order == [0, "other", 1]


def test_a_non_python_thread_draws_for_the_thread_that_waits_for_it():
    tasks, samples = queue.SimpleQueue(), queue.SimpleQueue()

    # like a thread of autograd, which outlives the backward pass that started it
    def helper():
        while tasks.get():
            samples.put(noise(3, like=LIKE))

    def sample_in_helper():
        tasks.put(True)
        return samples.get(timeout=60)

    _thread.start_new_thread(helper, ())
    by_key = {}

    def wait_for(key):
        with draws(CPU, key):
            by_key[key] = sample_in_helper()

    for key in ("first", "second"):
        at_once(lambda key=key: wait_for(key))
    tasks.put(False)
    for key, sample in by_key.items():
        with draws(CPU, key):
            assert torch.equal(noise(3, like=LIKE), sample)
