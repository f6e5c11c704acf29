"""The conformance suite, for genzoo's own tests and for the tests of plugins.

In a test file, each check becomes a test:

    @pytest.mark.parametrize("check", checks("my-model"), ids=str)
    def test_my_model(check):
        check()
"""

from genzoo.testing.conformance import (
    Check,
    ConformanceError,
    Result,
    check,
    check_model,
    checks,
    kind_of,
    model_checks,
)
from genzoo.testing.sanity import SANITY, passed_checks

__all__ = [
    "SANITY",
    "Check",
    "ConformanceError",
    "Result",
    "check",
    "check_model",
    "checks",
    "kind_of",
    "model_checks",
    "passed_checks",
]
