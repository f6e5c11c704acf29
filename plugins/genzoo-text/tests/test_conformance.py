"""Everything that this package registers meets genzoo's contract."""

import pytest

from genzoo.testing import checks

pytestmark = pytest.mark.slow

SMALL = {"width": 8, "depth": 1}


def without_repetition(suite):
    """Compile only for the first shape: compilation takes long, and shapes change little of it."""
    compilations = [check for check in suite if check.name == "compile"]
    return [check for check in suite if check not in compilations[1:]]


CHECKS = {
    f"{label}-{check}": check
    for label, cases in {
        "model": checks("char-wgan-gp", generator=SMALL, critic=SMALL),
        "model, other parts": checks(
            "char-wgan-gp",
            shapes=[(6, 5)],
            generator="mlp",
            critic="mlp",
            prior={"name": "mog", "components": 3},
            penalty="r1",
        ),
        "decoder": checks("char-resnet", "decoders", **SMALL),
        "critic": checks("char-resnet", "critics", **SMALL),
        "words": checks("words"),
        "python-help": checks("python-help"),
        "metric": checks("ngram-js"),
    }.items()
    for check in without_repetition(cases)
}


@pytest.mark.parametrize("name", CHECKS)
def test_conforms(name):
    CHECKS[name]()
