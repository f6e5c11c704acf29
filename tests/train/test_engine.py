"""The engine silences Lightning's messages, and leaves the loggers of others alone."""

import logging
import subprocess
import sys

import pytest

import genzoo


@pytest.mark.slow
def test_fit_in_half_precision_prints_nothing():
    """Lightning logs its automatic mixed precision with a handler that it sets up on import."""
    fit = (
        "import genzoo; genzoo.fit('vae', 'digits', steps=1, batch_size=8, progress=False, "
        "precision='bf16-mixed')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", fit], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_other_loggers_are_unchanged(caplog):
    # the import sets the level of its logger
    pytest.importorskip("lightning_fabric")
    logger = logging.getLogger("lightning_fabric")
    logger.setLevel(logging.DEBUG)
    with caplog.at_level(logging.INFO):
        genzoo.fit("vae", "digits", steps=1, batch_size=8, progress=False, precision="bf16-mixed")
        logging.getLogger("mine").info("still heard")
    assert [record.getMessage() for record in caplog.records] == ["still heard"]
    assert logger.level == logging.DEBUG
