"""Every form of constructor and factory can be registered, built by name, and built again."""

import functools
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from typing import Any

import pytest

from genzoo.contract import Encoder, Prior
from genzoo.errors import SettingError
from genzoo.registry.build import build
from genzoo.registry.lookup import registries
from genzoo.registry.records import config, settings_of
from genzoo.registry.signatures import hints, parameters


class Plain:
    """An object that stores the arguments of its constructor."""

    def __init__(this, shape=(1, 28, 28), scale: float = 1.0) -> None:  # noqa: N805
        this.shape, this.scale = shape, scale


class Positional:
    def __init__(self, shape, scale: float = 1.0, /, bias=0.0) -> None:
        self.shape, self.scale, self.bias = shape, scale, bias


class Passing(Plain):
    def __init__(*args, **kwargs) -> None:
        super(Passing, args[0]).__init__(*args[1:], **kwargs)


class FromNew:
    def __new__(me, shape=(1, 28, 28), scale: float = 1.0):
        instance = super().__new__(me)
        instance.shape, instance.scale = shape, scale
        return instance


@dataclass
class Data:
    shape: tuple = (1, 28, 28)
    scale: float = 1.0
    extra: list[int] = field(default_factory=lambda: [1, 2])
    factor: InitVar[float] = 1.0

    def __post_init__(self, factor: float) -> None:
        self.product = self.scale * factor


class Factories:
    @staticmethod
    def static(shape=(1, 28, 28), scale: float = 1.0) -> Plain:
        return Plain(shape, scale)

    @classmethod
    def of_class(those, shape=(1, 28, 28), scale: float = 1.0) -> Plain:  # noqa: N804
        return Plain(shape, scale)


class Caller:
    scale: str = "not a setting's type"

    def __call__(it, shape=(1, 28, 28), scale: float = 1.0) -> Plain:  # noqa: N805
        return Plain(shape, scale)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


class Decorated:
    @decorated
    def __init__(me, shape=(1, 28, 28), scale: float = 1.0) -> None:  # noqa: N805
        me.shape, me.scale = shape, scale


def self_is_a_setting(self: int = 3) -> Plain:
    return Plain(scale=float(self))


FORMS = {
    "another name for self": Plain,
    "positional only": Positional,
    "the instance in *args": Passing,
    "__new__": FromNew,
    "dataclass": Data,
    "static method": Factories.static,
    "static method object": vars(Factories)["static"],
    "class method": Factories.of_class,
    "partial": functools.partial(Plain, scale=3.0),
    "partial of what passes on": functools.partial(Passing, scale=3.0),
    "callable": Caller(),
    "decorated constructor": Decorated,
    "decorated factory": decorated(Plain),
}


@contextmanager
def registered(constructor: Any, kind: str = "metrics"):
    registries[kind].register("form", constructor)
    try:
        yield
    finally:
        registries[kind].unregister("form")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_built_from_a_table_and_from_its_record(form):
    with registered(FORMS[form]):
        first = build({"name": "form", "shape": [1, 8, 8], "scale": 2}, "metrics")
        assert (first.shape, first.scale, type(first.scale)) == ((1, 8, 8), 2.0, float)
        table = config(first)
        assert (table["shape"], table["scale"]) == ((1, 8, 8), 2.0)
        assert vars(build(table, "metrics")).keys() == vars(first).keys()
        assert config(build(table, "metrics")) == table


@pytest.mark.parametrize("form", FORMS)
def test_an_unknown_setting_is_refused_with_a_list_of_settings(form):
    with (
        registered(FORMS[form]),
        pytest.raises(SettingError, match=r"no setting 'scal'\. Did you mean 'scale'"),
    ):
        build({"name": "form", "shape": (1,), "scal": 2}, "metrics")


@pytest.mark.parametrize("form", FORMS)
def test_a_value_of_a_wrong_type_is_refused_with_its_path(form):
    with (
        registered(FORMS[form]),
        pytest.raises(SettingError, match=r'metric\.scale = "big": expected a number'),
    ):
        build({"name": "form", "shape": (1,), "scale": "big"}, "metrics")


def test_arguments_of_a_partial_are_defaults():
    preset = functools.partial(Positional, (4,), bias=5.0)
    assert {k: p.default for k, p in parameters(preset).items()} == {"scale": 1.0, "bias": 5.0}
    with registered(preset):
        built = build({"name": "form", "scale": 2.0}, "metrics")
        assert (built.shape, built.scale, built.bias) == ((4,), 2.0, 5.0)


def test_dataclass_factories_and_init_only_fields_are_supported():
    with registered(Data):
        assert config(build("form", "metrics"))["extra"] == [1, 2]
        assert build({"name": "form", "factor": 3}, "metrics").product == 3.0
    assert hints(Data)["factor"] is float


def test_a_factory_may_call_an_argument_self():
    with registered(self_is_a_setting):
        assert build({"name": "form", "self": 4}, "metrics").scale == 4.0


def test_an_argument_called_name_is_refused():
    with (
        registered(lambda name="x": Plain()),
        pytest.raises(SettingError, match=r"metric 'form'.*'name'.*something else"),
    ):
        build("form", "metrics")


class Mine(Encoder):
    """An encoder whose constructor has positional-only arguments and renames `self`."""

    def __init__(s, shape=(1, 28, 28), dim=2, widths=((8, 8), (4, 4)), /, *, names=["a"]):  # noqa: B006, N805
        super().__init__()
        s.shape, s.dim, s.widths, s.names = shape, dim, widths, names


class Below(Mine):
    def __init__(*args, **kwargs):
        me, *rest = args
        super(Below, me).__init__(*rest, **kwargs)


@pytest.mark.parametrize("cls", [Mine, Below])
def test_lists_are_converted_to_the_type_of_the_default(cls):
    with registered(cls, "encoders"):
        table = {
            "name": "form",
            "shape": [4],
            "dim": 3,
            "widths": [[1, 2], [3, 4]],
            "names": ("b", "c"),
        }
        built = build(table, "encoders")
        direct = cls([4], 3, [[1, 2], [3, 4]], names=("b", "c"))
        for part in (built, direct):
            assert (part.shape, part.dim, part.widths, part.names) == (
                (4,),
                3,
                ((1, 2), (3, 4)),
                ["b", "c"],
            )
        assert direct.config == built.config
        assert settings_of(direct) == settings_of(built)


def test_without_a_default_or_a_type_a_list_becomes_a_tuple():
    with registered(lambda shape, other=None: Plain(shape, other)):
        built = build({"name": "form", "shape": [1, [2, 3]], "other": [4]}, "metrics")
        assert (built.shape, built.scale) == ((1, (2, 3)), (4,))


def test_tables_in_defaults_are_unchanged():
    with registered(lambda shape=(1,), scale={"a": (1, 2), "b": [3]}: Plain(shape, scale)):
        built = build({"name": "form", "scale": {"a": [5, 6], "b": (7,), "c": [8]}}, "metrics")
        assert built.scale == {"a": (5, 6), "b": [7], "c": [8]}


def test_a_dataclass_can_be_a_part():
    @dataclass(eq=False, repr=False)
    class Point(Prior):
        dim: int
        at: tuple[float, ...] = (0.0,)

        def __post_init__(self) -> None:
            super().__init__()

    with registered(Point, "priors"):
        part = Point(2, [1, 2])  # type: ignore[arg-type]
        assert part.at == (1.0, 2.0)
        assert part.config == {"name": "form", "dim": 2, "at": (1.0, 2.0)}
