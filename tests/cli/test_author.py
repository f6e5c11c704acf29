"""`genzoo check` prints a table for people and returns an exit code for scripts."""

import re

import pytest
import torch
from torch import Tensor, nn

from genzoo.contract import Prior
from genzoo.errors import MissingDataError
from genzoo.registry.lookup import registries


@pytest.fixture
def register(monkeypatch):
    def register(kind, name, entry):
        monkeypatch.setattr(registries[kind], "_registered", dict(registries[kind]._registered))
        registries[kind].register(name, entry)

    return register


class Loose(Prior):
    """A prior whose samples depend on the number of processes, and whose variance is wrong."""

    expected_failures = {"ranks": "a toy of tests"}

    def __init__(self, dim: int, broken: bool = True) -> None:
        super().__init__()
        self.dim, self.broken, self.scale = dim, broken, nn.Parameter(torch.ones(()))

    def sample(self, n: int) -> Tensor:
        return self.scale * torch.randn(n, self.dim, dtype=self.scale.dtype)

    @property
    def variance(self) -> Tensor:
        return (self.scale + self.broken).expand(self.dim)


def rows(printed):
    return {
        line.split()[0]: line.split(maxsplit=2)[1:]
        for line in printed.splitlines()
        if re.match(r"[a-z_\d]+-[\dx]+ ", line)
    }


def test_a_passing_model_is_listed(genzoo_):
    code, printed = genzoo_("check", "sphere")
    assert code == 0
    assert printed.startswith("prior sphere  from genzoo")
    assert {columns[0] for columns in rows(printed).values()} == {"ok"}
    assert f"sphere: passed; {len(rows(printed))} checks: {len(rows(printed))} ok" in printed


def test_a_failure_is_printed_with_its_reason_and_an_exit_code(genzoo_, register):
    register("priors", "test-loose", Loose)
    code, printed = genzoo_("check", "test-loose")
    assert code == 1
    results = rows(printed)
    assert results["variance-1"][0] == "FAIL"
    assert "variance is [2.0], but 16384 samples have" in results["variance-1"][1]
    assert results["ranks-4"] == ["expected", "a toy of tests"]
    assert (
        f"test-loose: FAILED; {len(results)} checks: {len(results) - 4} ok, 2 expected, 2 FAIL"
        in printed
    )


def test_settings_and_shapes_reach_the_checks(genzoo_, register):
    register("priors", "test-loose", Loose)
    code, printed = genzoo_("check", "test-loose", "broken=false", "--shape", "2", "--shape", "3")
    assert code == 0
    assert {name.rpartition("-")[2] for name in rows(printed)} == {"2", "3"}


@pytest.mark.slow
def test_every_kind_with_the_name_is_checked(genzoo_):
    code, printed = genzoo_("check", "mlp")
    assert code == 0
    assert re.findall(r"^(\w+) mlp  from", printed, re.MULTILINE) == [
        "encoder",
        "decoder",
        "critic",
    ]
    code, printed = genzoo_("check", "mlp", "--kind", "critics", "--shape", "2", "hidden=[4]")
    assert (code, re.findall(r"^(\w+) mlp  from", printed, re.MULTILINE)) == (0, ["critic"])
    code, printed = genzoo_("check", "mlp", "hidden=[4]")
    assert code == 2
    assert "'mlp' is the name of encoders and decoders and critics; choose one" in printed
    assert "--kind encoders" in printed


def test_skipped_checks_are_listed_with_a_reason(genzoo_, register):
    def missing():
        raise MissingDataError("it is on the other machine; fetch it")

    register("datasets", "test-nowhere", missing)
    code, printed = genzoo_("check", "test-nowhere")
    assert code == 0
    assert "builds  skipped   it is on the other machine; fetch it" in printed
    assert "test-nowhere: passed; 1 check: 1 skipped" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wae-mdm"], "Nothing is named 'wae-mdm'. Did you mean 'wae-mmd'"),
        (
            ["vae", "--shape", "1by8"],
            "--shape 1by8: expected sizes separated by x, as in 1x28x28 or 2",
        ),
        (["toy"], "dataset 'toy' has no default for distribution; add distribution=..."),
        (["vae", "--kind", "modles"], "No kind of thing named 'modles'. Did you mean 'models'"),
    ],
)
def test_invalid_arguments_are_refused(genzoo_, arguments, message):
    code, printed = genzoo_("check", *arguments)
    assert code == 2
    assert message in printed


@pytest.mark.slow
def test_names_of_a_plugin_file_can_be_checked(genzoo_, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import genzoo\nfrom genzoo.priors.simple import Normal\n\n\n"
        "@genzoo.priors.register('test-mine')\n"
        "class Mine(Normal):\n    '''A normal distribution.'''\n"
    )
    code, printed = genzoo_("check", "test-mine", "--plugin", str(file))
    assert code == 0, printed
    assert "test-mine: passed;" in printed


def test_a_broken_plugin_fails_with_the_reason(genzoo_, install):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:Foo"}, genzoo_foo="import bar_not_there")
    code, printed = genzoo_("check", "foo")
    assert code == 1
    assert "which failed to import: No module named 'bar_not_there'" in printed
