"""The engine is silent where nobody asked, and other people's words come through."""

import logging
import subprocess
import sys

import pytest

import genzoo


@pytest.mark.slow
def test_a_fit_in_half_precision_says_nothing():
    """Lightning announces its automatic mixed precision by a logger with a handler, made when it is imported."""
    fit = "import genzoo; genzoo.fit('vae', 'digits', steps=1, batch_size=8, progress=False, precision='bf16-mixed')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", fit], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_the_loggers_of_others_stay_as_they_were(caplog):
    pytest.importorskip("lightning_fabric")  # which sets its logger's level when it is imported
    logger = logging.getLogger("lightning_fabric")
    logger.setLevel(logging.DEBUG)
    with caplog.at_level(logging.INFO):
        genzoo.fit("vae", "digits", steps=1, batch_size=8, progress=False, precision="bf16-mixed")
        logging.getLogger("mine").info("still heard")
    assert [record.getMessage() for record in caplog.records] == ["still heard"]
    assert logger.level == logging.DEBUG
