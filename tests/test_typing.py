"""The types that users see: the code of every page passes mypy --strict, and typos fail."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from genzoo.cli.author import write_plugin
from genzoo.registry.kinds import BUILT_IN
from tests.test_docs import FENCE, PAGES, ROOT

pytestmark = pytest.mark.xdist_group("typing")  # all tests share one call of mypy

SETTINGS = """\
[mypy]
# the options of `make lint`, so that torch is analyzed only once, and of a new plugin
strict = true
disable_error_code = no-any-return

[mypy-onnxruntime.*,sklearn.*]
ignore_missing_imports = true

[mypy-page_docs_guides_integrations]
# Tensor.backward has no type hints
disable_error_code = no-untyped-call

[mypy-pyro.*]
# most of pyro has no type hints, and strict mode forbids calls of such functions
follow_imports = skip
"""

RIGHT = {
    'genzoo.load("vae")': "genzoo.models.vae.VAE",
    'genzoo.load("vae").posterior(torch.rand(2, 1, 8, 8))': (
        "torch.distributions.independent.Independent[torch.distributions.normal.Normal]"
    ),
    'genzoo.load("runs/vae")': "genzoo.contract.model.Model",
    'genzoo.load("runs/vae").encode(torch.rand(2, 1, 8, 8))': "torch._tensor.Tensor",
    'genzoo.fit("vae", "digits").model': "genzoo.contract.model.Model",
    'genzoo.fit({"name": "vae"}, "digits").model': "genzoo.contract.model.Model",
    'genzoo.fit(genzoo.load("gan"), "digits").model': "genzoo.models.gan.GAN",
    'genzoo.fit("vae", "digits").model.config': "dict[str, Any]",
    'genzoo.build("vae")': "genzoo.contract.model.Model",
    'genzoo.build({"name": "vae"}, "models")': "genzoo.contract.model.Model",
    'genzoo.build("mog", "priors", dim=2)': "genzoo.contract.parts.Prior",
    'genzoo.build("mlp", "encoders", shape=(2,), dim=1)': "genzoo.contract.parts.Encoder",
    'genzoo.build("mlp", "decoders", shape=(2,), dim=1)': "genzoo.contract.parts.Decoder",
    'genzoo.build("mlp", "critics", shape=(2,))': "genzoo.contract.parts.Critic",
    'genzoo.build("unet", "translators", given_shape=(2,), shape=(2,))': (
        "genzoo.contract.parts.Translator"
    ),
    'genzoo.build("digits", "datasets")': "genzoo.contract.dataset.Dataset",
    'genzoo.build("likelihood", "metrics")': "genzoo.contract.judging.Metric",
    'genzoo.build("mmd", "divergences")': (
        "genzoo.contract.parts.Divergence | genzoo.contract.parts.Penalty"
    ),
    'genzoo.priors.get("mog")(dim=2)': "genzoo.contract.parts.Prior",
    'genzoo.models.available("wae-*")': "list[str]",
    "genzoo.models.VAE(shape=(1, 8, 8)).prior": "genzoo.contract.parts.Prior",
    "Halves(dim=2).sample(3)": "torch._tensor.Tensor",
    "genzoo.distributed.noise(2, 3, like=torch.zeros(()))": "torch._tensor.Tensor",
}
"""Expression -> the type that mypy reveals."""

WRONG = {
    'genzoo.lod("vae")': 'has no attribute "lod"',
    "genzoo.models.VEA": 'has no attribute "VEA"',
    'genzoo.models.avaliable("wae-*")': 'has no attribute "avaliable"',
    "genzoo.distributed.nose(2)": 'has no attribute "nose"',
    'genzoo.load("vae").encoed(torch.rand(2, 1, 8, 8))': "not callable",
    'genzoo.load("runs/vae").smaple(3)': "not callable",
    'genzoo.build("mog", "priors", dim=2).smaple(3)': "not callable",
    'genzoo.build("digits", "datasets").prepair(3)': 'has no attribute "prepair"',
    'genzoo.fit("vae", "digits").modle': 'has no attribute "modle"',
    'genzoo.fit("vae", "digits", 3)': "No overload variant",
    "genzoo.fit(3, 'digits')": "No overload variant",
    "genzoo.load(3)": "No overload variant",
    'genzoo.Player("critic")': "Too many positional arguments",
    'genzoo.GenzooErorr("no")': 'has no attribute "GenzooErorr"',
}
"""Expression -> a part of mypy's error."""

HEAD = """\
import torch
import genzoo

@genzoo.priors.register("halves")
class Halves(genzoo.contract.Prior):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def sample(self, n: int) -> torch.Tensor:
        return torch.full((n, self.dim), 0.5)

"""


def python_of(page: Path) -> str:
    """Return the Python blocks of a page as one file with the line numbers of the page."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in FENCE.finditer(text):
        if block[1] == "python":
            first = text[: block.start(3)].count("\n")
            code = block[3].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines).rstrip() + "\n"


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> list[str]:
    """Return the output of one mypy call for the pages, a new plugin, and the expressions above."""
    folder = tmp_path_factory.mktemp("pages")
    write_plugin("genzoo-my-model", folder)
    for page in PAGES:
        code = python_of(page)
        if code.strip():
            name = re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix("")))
            (folder / f"page_{name}.py").write_text(code, encoding="utf-8")
    right = "".join(f"reveal_type({expression})\n" for expression in RIGHT)
    (folder / "right.py").write_text(HEAD + right, encoding="utf-8")
    (folder / "wrong.py").write_text(HEAD + "\n".join(WRONG) + "\n", encoding="utf-8")
    (folder / "mypy.ini").write_text(SETTINGS, encoding="utf-8")
    cache = ROOT / ".mypy_cache"
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary"]
    done = subprocess.run(
        [*command, "--cache-dir", str(cache), "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_code_of_every_page_passes_strict_type_checks(report):
    assert [line for line in report if line.startswith("page_")] == []


@pytest.mark.slow
def test_a_new_plugin_passes_type_checks(report, tmp_path):
    assert [line for line in report if "my_model" in line] == []
    project = tomllib.loads(
        (write_plugin("genzoo-my-model", tmp_path) / "pyproject.toml").read_text()
    )
    options = {"strict": True, "disable_error_code": ["no-any-return"]}
    assert project["tool"]["mypy"] == {"files": ["genzoo_my_model", "tests"], **options}


@pytest.mark.slow
def test_types_are_inferred_from_names(report):
    lines = [line for line in report if line.startswith("right.py")]
    revealed = [re.search(r'Revealed type is "(.*)"$', line) for line in lines]
    assert all(revealed), lines
    assert [match[1] for match in revealed if match] == list(RIGHT.values())


@pytest.mark.slow
@pytest.mark.parametrize("expression", WRONG)
def test_a_misspelled_name_is_a_type_error(report, expression):
    number = HEAD.count("\n") + list(WRONG).index(expression) + 1
    lines = [line for line in report if line.startswith(f"wrong.py:{number}: error:")]
    assert any(WRONG[expression] in line for line in lines), lines


def test_load_returns_the_class_of_every_built_in_model():
    source = (ROOT / "genzoo" / "loading.py").read_text(encoding="utf-8")
    overloads = re.findall(r'Literal\["(.+)"\], /, \*\*settings: Any\) -> (\w+)', source)
    classes = {name: value.rpartition(":")[2] for name, value in BUILT_IN["models"].items()}
    assert dict(overloads) == classes
