"""The conformance suite: what every registered thing must do, for our tests and for those of plugin authors.

In a test file, every check is a test of its own:

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

__all__ = [
    "Check",
    "ConformanceError",
    "Result",
    "check",
    "check_model",
    "checks",
    "kind_of",
    "model_checks",
]
