import pytest

import genzoo
from tests.toys import Translator


@pytest.mark.parametrize("name", ["codes", "likelihood", "reconstruction"])
def test_a_model_of_several_inputs_is_refused_by_name(name):
    translator = Translator(shape=(1, 8, 8))
    for capability in ("encode", "prior", "log_prob", "reconstruct"):
        setattr(translator, capability, None)
    assert genzoo.build(name, "metrics").lacking(translator) == ["a single input"]
    translator.inputs = ("x",)
    assert genzoo.build(name, "metrics").lacking(translator) == []
