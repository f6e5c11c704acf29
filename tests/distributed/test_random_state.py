"""Threads do not disturb each other's random numbers, and the caller's random state is kept."""

import os
import threading

import pytest
import torch

from genzoo.distributed import noise
from genzoo.distributed.random_state import exclusive, reseed

CPU = torch.device("cpu")
LIKE = torch.zeros(())


def test_a_seeded_section_restores_the_callers_random_state():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with exclusive():
        reseed(CPU, "other")
        other = torch.rand(2)
        with exclusive():
            reseed(CPU, "another")
            torch.rand(7)
        assert not torch.equal(torch.rand(4), expected)
        reseed(CPU, "other")
        assert torch.equal(torch.rand(2), other)
    assert torch.equal(torch.rand(4), expected)
    with pytest.raises(
        RuntimeError, match="outside of exclusive: the caller's random state would be lost"
    ):
        reseed(CPU, "other")


def at_once(*functions):
    """Run each function in a separate thread, and raise the errors that they raise."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=guarded, args=(function,), daemon=True) for function in functions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("last_word", [False, True], ids=["section-continues", "section-ends"])
def test_a_seed_set_by_another_thread_during_a_section_holds_after_it(last_word):
    torch.manual_seed(3)
    expected = torch.randn(5, 2)
    seeded, waits, samples = threading.Event(), threading.Event(), []

    def run():
        with exclusive():
            reseed(CPU, "a round")
            waits.set()
            seeded.wait()
            if not last_word:
                reseed(CPU, "its next microbatch")
                torch.rand(9)

    def sample():
        waits.wait()
        torch.manual_seed(3)
        seeded.set()
        samples.append(noise(5, 2, like=LIKE))  # runs after the section

    at_once(run, sample)
    assert torch.equal(samples[0], expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_during_a_round_can_draw_noise():
    entered, forked, code = threading.Event(), threading.Event(), []

    def run():
        with exclusive():
            entered.set()
            forked.wait()

    def fork():
        entered.wait()
        child = os.fork()
        if child == 0:
            noise(2, like=LIKE)
            os._exit(7)
        forked.set()
        code.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    at_once(run, fork)
    assert code == [7]
