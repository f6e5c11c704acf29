"""Everything that this package registers meets genzoo's contract."""

import pytest

from genzoo.testing import checks

pytestmark = pytest.mark.slow

SMALL = {"width": 8, "depth": 1}
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
    for check in cases
}


@pytest.mark.parametrize("name", CHECKS)
def test_conforms(name):
    CHECKS[name]()
