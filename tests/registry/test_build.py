"""Building parts from a name, a table, or an instance, with sizes and paths in errors."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AllowInfNan
from torch import nn

import genzoo
from genzoo.blocks.mlp import MLPEncoder
from genzoo.contract import (
    Configurable,
    Critic,
    Decoder,
    Divergence,
    Encoder,
    Model,
    Part,
    Penalty,
    Positive,
    PositiveFloat,
    Prior,
    Translator,
)  # fmt: skip
from genzoo.errors import SettingError
from genzoo.registry.build import build
from genzoo.registry.lookup import registries
from genzoo.registry.records import config, init_record, settings_of
from genzoo.registry.signatures import parameters


class Owner(Configurable):
    """A part with a slot and one setting of each type."""

    def __init__(
        self,
        dim: Positive,
        scale: PositiveFloat = 1.0,
        mode: Literal["mean", "sum"] = "mean",
        widths: tuple[Positive, ...] = (8,),
        flag: bool = False,
        label: str | None = None,
        options: Mapping[str, float] | None = None,
        encoder: Part = "mlp",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.encoder = build(encoder, "encoders", shape=(4,), dim=dim)


@pytest.fixture(autouse=True, scope="module")
def _registered():
    registries["critics"].register("owner", Owner)
    yield
    registries["critics"].unregister("owner")


def message(spec, kind="critics", **context) -> str:
    with pytest.raises(SettingError) as caught:
        build(spec, kind, **context)
    return str(caught.value)


def test_a_name_a_table_and_an_instance_build_the_same_part():
    table = {"name": "mlp", "hidden": (512, 256)}
    parts = [
        build(spec, "encoders", shape=(4,), dim=2) for spec in ("mlp", table, MLPEncoder((4,), 2))
    ]
    assert len({repr(part) for part in parts}) == 1
    assert [config(part) for part in parts] == [config(parts[0])] * 3


def test_an_instance_is_used_unchanged():
    part = MLPEncoder((4,), 2)
    assert build(part, "encoders", shape=(4,), dim=2) is part


def test_a_table_is_not_modified():
    table = {"name": "mlp", "hidden": [8]}
    build(table, "encoders", shape=(4,), dim=2)
    assert table == {"name": "mlp", "hidden": [8]}


def test_sizes_flow_down_and_stay_out_of_the_config():
    owner = build({"name": "owner", "dim": 3, "encoder": {"name": "mlp", "hidden": [8]}}, "critics")
    assert (owner.encoder.shape, owner.encoder.dim) == ((4,), 3)
    assert owner.config["encoder"] == {
        "name": "mlp",
        "hidden": (8,),
        "activation": "silu",
        "norm": "none",
    }


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"dim": 1}, "critic = {'dim': 1}: a table needs a name, as in {name = \"...\"}"),
        ({"name": "ownr"}, "No critic named 'ownr'. Did you mean 'owner'?"),
        ({"name": "owner"}, "critic 'owner' needs a setting 'dim'."),
        (
            {"name": "owner", "dim": 1, "modes": 2},
            "critic 'owner' has no setting 'modes'. Did you mean 'mode'?",
        ),
        ({"name": "owner", "dim": 1, "self": 2}, "critic 'owner' has no setting 'self'."),
        ({"name": "owner", "dim": "many"}, 'critic.dim = "many": expected an integer'),
        ({"name": "owner", "dim": 1.0}, "critic.dim = 1.0: expected an integer"),
        ({"name": "owner", "dim": True}, "critic.dim = True: expected an integer"),
        ({"name": "owner", "dim": 0}, "critic.dim = 0: expected greater than 0"),
        ({"name": "owner", "dim": 1, "scale": "0.5"}, 'critic.scale = "0.5": expected a number'),
        (
            {"name": "owner", "dim": 1, "mode": "median"},
            "critic.mode = \"median\": expected 'mean' or 'sum'",
        ),
        ({"name": "owner", "dim": 1, "flag": 1}, "critic.flag = 1: expected a boolean"),
        (
            {"name": "owner", "dim": 1, "widths": 8},
            "critic.widths = 8: expected a tuple, such as [8].",
        ),
        (
            {"name": "owner", "dim": 1, "widths": [8, "9"]},
            "critic.widths = [8, '9']: expected an integer",
        ),
        ({"name": "owner", "dim": 1, "encoder": 3}, "critic.encoder = 3: expected"),
        (
            {"name": "owner", "dim": 1, "encoder": "mpl"},
            "No encoder named 'mpl'. Did you mean 'mlp'?",
        ),
        (
            {"name": "owner", "dim": 1, "encoder": {"name": "mlp", "hidden": "wide"}},
            'critic.encoder.hidden = "wide": expected',
        ),
        (
            {"name": "owner", "dim": 1, "encoder": {"name": "mlp", "hiden": [1]}},
            "critic.encoder 'mlp' has no setting 'hiden'. Did you mean 'hidden'?",
        ),
        (
            {"name": "owner", "dim": 1, "encoder": {"name": "mlp", "dim": 5}},
            "critic.encoder.dim = 5, but its owner needs 1; leave it out",
        ),
        (
            {"name": "owner", "dim": 1, "encoder": MLPEncoder((4,), 2)},
            "critic.encoder: this MLPEncoder has dim = 2, but its owner needs 1",
        ),
    ],
)
def test_an_error_names_the_path_the_value_and_the_fix(spec, text):
    assert message(spec).startswith(text)


def test_a_nested_error_names_the_full_path():
    spec = {"name": "vae", "shape": (1, 8, 8), "prior": {"name": "mog", "components": "many"}}
    assert message(spec, "models") == 'model.prior.components = "many": expected an integer.'


def test_a_class_is_not_an_instance():
    assert (
        message(MLPEncoder, "encoders")
        == "encoder = MLPEncoder: expected a name, a table, or an instance, as in MLPEncoder(...)."
    )


def test_an_owner_may_name_its_slot():
    with pytest.raises(SettingError, match=r"^first\.hidden = -1"):
        build({"name": "mlp", "hidden": -1}, "encoders", slot="first", shape=(4,), dim=1)


def test_toml_lists_and_integers_are_converted():
    owner = build({"name": "owner", "dim": 1, "scale": 2, "widths": [3, 4]}, "critics")
    assert settings_of(owner)["widths"] == (3, 4)
    assert settings_of(owner)["scale"] == 2.0


def test_a_size_may_be_repeated_if_it_matches_the_owner():
    assert build({"name": "mlp", "shape": [4], "dim": 2}, "encoders", shape=(4,), dim=2).dim == 2


def test_an_unregistered_part_works_but_cannot_be_saved():
    class Mine(nn.Module):
        dim, shape = 1, (4,)

    owner = Owner(1, encoder=Mine())
    with pytest.raises(
        SettingError, match=r"test_build\.\S*Mine is not registered.*@genzoo\.encoders\.register"
    ):
        _ = owner.config


def test_the_config_of_an_instance_omits_the_arguments_of_its_owner():
    owner = Owner(2, encoder=MLPEncoder((4,), 2, hidden=(8,)))
    assert owner.config["encoder"] == {
        "name": "mlp",
        "hidden": (8,),
        "activation": "silu",
        "norm": "none",
    }
    assert owner.encoder.config == {
        "name": "mlp",
        "shape": (4,),
        "dim": 2,
        **settings_of(owner.encoder),
    }
    assert repr(build(owner.config, "critics")) == repr(owner)


def test_a_part_records_its_kind_and_name():
    part = build("mlp", "encoders", shape=(4,), dim=2)
    assert (init_record(part).kind, init_record(part).name, init_record(part).context) == (
        "encoders",
        "mlp",
        {"shape", "dim"},
    )
    assert init_record(MLPEncoder((4,), 2)).name == "mlp"
    assert settings_of(nn.Linear(1, 1)) == {}


def test_the_error_path_is_reset_after_an_error():
    for _ in range(2):
        assert message(
            {"name": "owner", "dim": 1, "encoder": {"name": "mlp", "hidden": -1}}
        ).startswith("critic.encoder.hidden")


ENCODERS = st.one_of(
    st.just("mlp"),
    st.fixed_dictionaries(
        {"name": st.just("mlp")},
        optional={
            "hidden": st.lists(st.integers(1, 5), max_size=3),
            "activation": st.sampled_from(["silu", "tanh", "leaky-relu"]),
            "norm": st.sampled_from(["none", "layer", "spectral"]),
        },
    ),
    st.lists(st.integers(1, 5), max_size=2).map(lambda hidden: ("instance", tuple(hidden))),
)


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {"dim": st.integers(1, 4), "encoder": ENCODERS},
        optional={
            "scale": st.floats(0.1, 10) | st.integers(1, 10),
            "mode": st.sampled_from(["mean", "sum"]),
            "widths": st.lists(st.integers(1, 9), max_size=3),
            "flag": st.booleans(),
            "label": st.none() | st.text(),
            "options": st.dictionaries(st.text(), st.floats(-1, 1)),
        },
    )
)
def test_build_restores_the_object_from_its_config(settings):
    if isinstance(settings["encoder"], tuple):
        settings["encoder"] = MLPEncoder((4,), settings["dim"], hidden=settings["encoder"][1])
    first = build({"name": "owner", **settings}, "critics")
    again = build(first.config, "critics")
    assert again.config == first.config
    assert repr(again) == repr(first)
    assert {name: p.shape for name, p in again.named_parameters()} == {
        name: p.shape for name, p in first.named_parameters()
    }


NOT = {
    "dim": st.text()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.integers(max_value=0)
    | st.lists(st.integers()),
    "scale": st.text()
    | st.booleans()
    | st.none()
    | st.floats(max_value=0, allow_nan=False)
    | st.lists(st.floats()),
    "mode": st.text().filter(lambda text: text not in ("mean", "sum"))
    | st.integers()
    | st.none()
    | st.booleans(),
    "widths": st.text()
    | st.integers()
    | st.none()
    | st.lists(st.text(), min_size=1)
    | st.lists(st.integers(max_value=0), min_size=1),
    "flag": st.integers() | st.text() | st.none(),
    "label": st.integers() | st.booleans() | st.floats(),
    "encoder": st.integers() | st.none() | st.booleans() | st.lists(st.text()),
}


@pytest.mark.parametrize("key", NOT)
@given(data=st.data())
def test_a_value_of_a_wrong_type_is_refused_with_its_path(key, data):
    value = data.draw(NOT[key])
    assert message({"name": "owner", "dim": 1, key: value}).startswith(f"critic.{key} = ")


@given(st.text(max_size=12))
def test_an_unknown_setting_is_refused(key):
    if key in settings_of(Owner(1)) or key == "name":
        return
    assert message({"name": "owner", "dim": 1, key: 1}).startswith(
        f"critic 'owner' has no setting {key!r}."
    )


def test_a_model_is_built_with_its_shape():
    model = genzoo.build("vae", shape=(1, 8, 8))
    assert model.sample(2).shape == torch.Size([2, 1, 8, 8])


def test_only_tables_of_slots_are_merged_with_the_default():
    @genzoo.encoders.register("test-tables")
    class Tables(Configurable):
        def __init__(
            self,
            classes: Mapping[str, int] = MappingProxyType({"a": 1}),
            net: Mapping[str, object] = MappingProxyType({"name": "mlp", "hidden": (4,)}),
        ) -> None:
            super().__init__()
            self.classes, self.net = classes, net

    try:
        built = build(
            {"name": "test-tables", "classes": {"b": 2}, "net": {"activation": "relu"}}, "encoders"
        )
        assert built.classes == {"b": 2}
        assert built.net == {"name": "mlp", "hidden": (4,), "activation": "relu"}
        assert build({"name": "test-tables", "net": {"name": "conv"}}, "encoders").net == {
            "name": "conv"
        }
    finally:
        registries["encoders"].unregister("test-tables")


SLOTS = {
    "encoder": ("encoders", {"hidden": (8,)}),
    "decoder": ("decoders", {"hidden": (8,)}),
    "generator": ("decoders", {"hidden": (8,)}),
    "critic": ("critics", {"hidden": (8,)}),
    "prior": ("priors", {}),
    "divergence": ("divergences", {}),
    "penalty": ("divergences", {}),
}
PARTIAL = {
    "r1": {"every": 2},
    "gradient-penalty": {"target": 0.5},
    "normal": {"scale": 2},
    "uniform": {"low": -3},
    "kl": {"estimator": "monte-carlo"},
    "mmd": {"scales": [2]},
}


def _slots():
    """Return each slot of the built-in models with its default, as a table."""
    slots = []
    for name in ("vae", "wae-mmd", "wae-gan", "gan", "dcgan", "lsgan", "wgan", "wgan-gp"):
        for key, parameter in parameters(registries["models"].get(name)).items():
            default = parameter.default
            if key in SLOTS and default is not None and default != "none":
                table = {"name": default} if isinstance(default, str) else dict(default)
                slots.append(pytest.param(name, key, table, id=f"{name}-{key}"))
    return slots


@pytest.mark.parametrize(("name", "key", "default"), _slots())
def test_a_direct_call_accepts_a_table_without_a_name_like_build(name, key, default):
    partial = SLOTS[key][1] or PARTIAL[default["name"]]
    model = registries["models"].get(name)(shape=[1, 8, 8], **{key: partial})
    expected = build({"name": name, key: {**default, **partial}}, shape=(1, 8, 8))
    assert repr(model) == repr(expected)
    assert repr(getattr(model, key)) == repr(getattr(expected, key))
    assert model.config == expected.config
    assert model.config[key]["name"] == default["name"]
    assert repr(build(model.config)) == repr(model)


@pytest.mark.parametrize(
    ("name", "slot", "shape", "table"),
    [
        ("vae", "encoder", (1, 8, 8), {"name": "conv", "norm": "layer"}),
        ("wae-mmd", "decoder", (5,), {"name": "mlp", "norm": "layer"}),
        ("gan", "critic", (1, 8, 8), {"name": "conv", "norm": "layer"}),
        ("wgan-gp", "generator", (5,), {"name": "mlp", "hidden": (8,)}),
    ],
)
def test_a_table_without_a_name_changes_the_default_for_the_data(name, slot, shape, table):
    changes = {key: value for key, value in table.items() if key != "name"}
    default = getattr(build(name, shape=shape), slot).config
    changed = getattr(build({"name": name, slot: changes}, shape=shape), slot).config
    assert changed == {**default, **table}


def test_a_metric_called_directly_accepts_a_table_without_a_name():
    codes = registries["metrics"].get("codes")(divergence={"scales": [2]})
    assert (type(codes.divergence).__name__, codes.divergence.scales) == ("MMD", (2.0,))
    assert config(codes)["divergence"]["name"] == "mmd"


def test_only_the_constructor_that_was_called_records_and_checks():
    class Above(Configurable):
        def __init__(self, encoder: Part = "mlp", widths: tuple[int, ...] = (1,)) -> None:
            super().__init__()
            self.encoder, self.widths = build(encoder, "encoders", shape=(4,), dim=2), widths

    class Under(Above):
        def __init__(self, width: int = 3) -> None:
            super().__init__({"name": "mlp", "hidden": [width]}, widths=[width])

    assert settings_of(Above({"hidden": [5]}, [2])) == {
        "encoder": {"name": "mlp", "hidden": [5]}, "widths": (2,)
    }  # fmt: skip
    assert settings_of(Under(4)) == {"width": 4}
    assert settings_of(Under(4).encoder)["hidden"] == (4,)
    assert settings_of(Above()) == {"encoder": "mlp", "widths": (1,)}


def test_a_registered_class_that_records_no_settings_cannot_be_saved():
    class Mine(nn.Module):
        def __init__(self, dim: int = 1, width: int = 2) -> None:
            super().__init__()
            self.dim, self.shape = dim, (4,)

    genzoo.encoders.register("test-keeps-nothing", Mine)
    try:
        owner = Owner(1, encoder=Mine(width=7))
        with pytest.raises(
            SettingError, match=r"Mine keeps no record of its settings.*'test-keeps-nothing'"
        ):
            _ = owner.config
    finally:
        registries["encoders"].unregister("test-keeps-nothing")


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        (Encoder, "encoders"),
        (Decoder, "decoders"),
        (Critic, "critics"),
        (Translator, "translators"),
        (Prior, "priors"),
        (Divergence, "divergences"),
        (Penalty, "divergences"),
        (Model, "models"),
    ],
)
def test_the_error_for_an_unregistered_object_names_its_kind(base, kind):
    class Mine(base):
        pass

    with pytest.raises(SettingError, match=rf"@genzoo\.{kind}\.register"):
        _ = Mine().config


class Free(Configurable):
    """A part with an annotation that allows infinity, and an argument without annotation."""

    def __init__(self, limit: Annotated[float, AllowInfNan(True)] = 1.0, anything=None) -> None:
        super().__init__()
        self.limit = limit


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_floats_must_be_finite_unless_the_annotation_allows_infinity(value):
    assert (
        message({"name": "owner", "dim": 1, "scale": value})
        == f"critic.scale = {value}: expected a finite number."
    )
    assert repr(Free(limit=value).limit) == repr(value)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"name": "owner", "dim": 2**63},
            "critic.dim = 9223372036854775808: expected an integer of at most 64 bits",
        ),
        (
            {"name": "owner", "dim": 10**5000},
            "critic.dim = <an integer of 5,000 digits>: expected an integer of at most 64 bits",
        ),
        (
            {"name": "owner", "dim": 1, "widths": [10**30]},
            "critic.widths = [1000000000000000000000000000000]: ",
        ),
        (
            {"name": "owner", "dim": "9" * 10**6},
            f'critic.dim = "{"9" * 60}...{"9" * 10}": expected an integer',
        ),
        ({"name": "x" * 10**6}, f"No critic named '{'x' * 60}...{'x' * 10}'."),
        ({"name": 5}, "critic = {'name': 5}: a table needs a name"),
        (
            {"name": "owner", "dim": 1, "x" * 1000: 2},
            f"critic 'owner' has no setting '{'x' * 60}...{'x' * 10}'.",
        ),
        (None, "critic = None: expected a name, a table, or an instance"),
        (True, "critic = True: expected a name, a table, or an instance"),
        (
            10**5000,
            "critic = <an integer of 5,000 digits>: expected a name, a table, or an instance",
        ),
        ([1, 2], "critic = [1, 2]: expected a name, a table, or an instance"),
        (b"owner", "critic = b'owner': expected a name, a table, or an instance"),
    ],
    ids=str.split(
        "size digits list text name number setting none bool root-digits root-list bytes"
    ),
)
def test_unusable_values_are_refused_with_a_short_message(spec, expected):
    text = message(spec)
    assert text.startswith(expected)
    assert len(text) < 400


def test_self_referencing_tables_are_refused():
    deep: dict = {}
    circle: list = []
    circle.append(circle)
    for _ in range(100_000):
        deep = {"a": deep}
    for value in (deep, circle):
        text = message({"name": "owner", "dim": 1, "options": value})
        assert text.startswith("critic.options is nested deeper than 100 levels")
        with pytest.raises(SettingError, match=r"Free\.anything is nested deeper than 100 levels"):
            Free(anything=value)


def test_the_error_for_a_part_larger_than_memory_names_the_large_setting():
    vae = {"name": "vae", "shape": (1, 8, 8)}
    expected = (
        r"^model 'vae' does not fit into memory: it needs more than [\d.,]+ TiB, "
        r"and [\d.,]+ [GM]iB are free\. Lower {}\.$"
    )
    for setting, named in (
        ({"latent_dim": 10**10}, r"model\.latent_dim = 10000000000"),
        (
            {"encoder": {"name": "mlp", "hidden": [8, 10**11]}},
            r"model\.encoder\.hidden = 100000000000",
        ),
        ({"shape": (10**6, 10**6)}, r"model\.shape = 1000000"),
    ):
        with pytest.raises(SettingError, match=expected.format(named)):
            build({**vae, **setting})
    with pytest.raises(
        SettingError, match=r"it needs more memory than the machine has\. Lower model\.shape = "
    ):
        build({**vae, "shape": (2**40, 2**40)})
