"""Everything in this package meets genzoo's contract."""

import pytest

from genzoo.testing import checks, model_checks

pytestmark = pytest.mark.slow

UNET, RESNET, PATCH = (
    {"name": "unet", "width": 4},
    {"name": "resnet", "width": 4, "blocks": 1},
    {"name": "patch", "width": 4},
)
NET = {"name": "conv", "channels": (4, 8), "norm": "batch"}
BOTTLENECK, PYRAMID = (
    {"name": "bottleneck", "encoder": NET, "decoder": NET},
    {"name": "pyramid", "width": 4},
)


def without_repetition(suite):
    """Compile only for the first shape: compilation takes long, and shapes change little of it."""
    compilations = [check for check in suite if check.name == "compile"]
    return [check for check in suite if check not in compilations[1:]]


CHECKS = {
    f"{label}-{check}": check
    for label, cases in {
        "pix2pix": model_checks("pix2pix", translator=UNET, critic=PATCH),
        "pix2pix, l1": model_checks(
            "pix2pix", [(1, 9, 12)], translator=UNET, adversarial_weight=0.0
        ),
        "pix2pix, gray to color": model_checks(
            "pix2pix", [(3, 9, 12)], translator=UNET, critic="conv", given_shape=(1, 9, 12)
        ),
        "cyclegan": model_checks("cyclegan", translator=RESNET, critic=PATCH, pool=6),
        "cyclegan, gray to color": model_checks(
            "cyclegan",
            [(3, 9, 12)],
            translator=RESNET,
            critic=PATCH,
            identity=0.0,
            given_shape=(1, 9, 12),
        ),
        "discogan": model_checks("discogan", translator=BOTTLENECK, critic=PYRAMID),
        "discogan, code": model_checks(
            "discogan", [(1, 9, 12)], variant="code", translator=BOTTLENECK, critic=PYRAMID
        ),
    }.items()
    for check in without_repetition(cases)
} | {
    f"{table['name']}-{check}": check
    for kind, tables in {
        "translators": (UNET, RESNET, BOTTLENECK),
        "critics": (PATCH, PYRAMID),
        "datasets": (
            {"name": "edges", "of": "digits"},
            {"name": "mapped", "of": "digits"},
            {"name": "classes", "of": "digits"},
            {"name": "emoji", "size": 8},
            {"name": "icons", "size": 8},
        ),
        "metrics": ({"name": "translation"},),
    }.items()
    for table in tables
    for check in without_repetition(checks(table, kind))
}


@pytest.mark.parametrize("name", CHECKS)
def test_conforms(name):
    CHECKS[name]()
