"""Load a model by its registered name, or a trained one by the name or folder of its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from genzoo.contract import Model
from genzoo.errors import RunError, SettingError
from genzoo.files import local_path
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.runs.folder import RunFolder

if TYPE_CHECKING:
    from genzoo.models import (
        DCGAN,
        GAN,
        LSGAN,
        NADE,
        RNADE,
        VAE,
        WAEGAN,
        WAEMMD,
        WGAN,
        WGANGP,
        EoNADE,
        Independent,
        Markov,
        PixelRNN,
    )

__all__ = ["load"]


@overload
def load(name: Literal["vae"], /, **settings: Any) -> VAE: ...


@overload
def load(name: Literal["wae-mmd"], /, **settings: Any) -> WAEMMD: ...


@overload
def load(name: Literal["wae-gan"], /, **settings: Any) -> WAEGAN: ...


@overload
def load(name: Literal["gan"], /, **settings: Any) -> GAN: ...


@overload
def load(name: Literal["dcgan"], /, **settings: Any) -> DCGAN: ...


@overload
def load(name: Literal["lsgan"], /, **settings: Any) -> LSGAN: ...


@overload
def load(name: Literal["wgan"], /, **settings: Any) -> WGAN: ...


@overload
def load(name: Literal["wgan-gp"], /, **settings: Any) -> WGANGP: ...


@overload
def load(name: Literal["nade"], /, **settings: Any) -> NADE: ...


@overload
def load(name: Literal["rnade"], /, **settings: Any) -> RNADE: ...


@overload
def load(name: Literal["eonade"], /, **settings: Any) -> EoNADE: ...


@overload
def load(name: Literal["pixel-rnn"], /, **settings: Any) -> PixelRNN: ...


@overload
def load(name: Literal["independent"], /, **settings: Any) -> Independent: ...


@overload
def load(name: Literal["markov"], /, **settings: Any) -> Markov: ...


@overload
def load(
    name: str | Path, /, *, checkpoint: Literal["last", "best"] = "last", **settings: Any
) -> Model: ...


def load(
    name: str | Path, /, *, checkpoint: Literal["last", "best"] = "last", **settings: Any
) -> Model:
    """Return an untrained model by its registered name, or a trained model.

    A trained model is in eval mode. It comes from pretrained weights, such as `"vae.digits"`
    (`genzoo.weights.available()` lists them), from a run folder, or from a pack, which
    `genzoo.pack` writes. If a folder has the name of a registered model or of pretrained weights,
    the name wins; write `./name` for the folder. Nothing in a folder or a pack is ever executed or
    unpickled, and the hashes of pretrained weights are checked.

    Arguments:
        name: the name of a model or of pretrained weights, the path of a run folder or of a pack,
            which ends in `.zip`, or the address of a run on the Hugging Face Hub,
            `hf://user/name@revision`.
        checkpoint: the weights of a run folder: `"last"` (the averaged ones, if the run has them),
            or `"best"`, those of the best evaluation on validation rows (see `train.monitor`).
        **settings: arguments of the constructor. Only a registered name takes them.

    Raises:
        SettingError: the name, a setting, or a value is not valid, or settings were passed for a
            trained model.
        RunError: the folder is not a run folder, or its weights are damaged or belong to another
            model.
        PluginError: the name belongs to a plugin that cannot be used.

    Example:
        >>> import genzoo
        >>> genzoo.load("wae-mmd", prior="mog", latent_dim=2, shape=(1, 8, 8)).sample(4).shape
        torch.Size([4, 1, 8, 8])
    """
    names = registry("models")
    if isinstance(name, str) and name in names:
        if checkpoint != "last":
            raise SettingError(
                f'checkpoint = "{checkpoint}": {name!r} is an untrained model; give the run folder.'
            )
        from genzoo.train.misplaced import explained

        if "name" in settings:
            raise SettingError(
                f"name = {settings['name']!r}: the first argument, {name!r}, is the model's name."
            )
        with explained(name, call="load"):
            return build({"name": name, **settings})
    folder = _folder(name)
    if settings:
        raise SettingError(
            f"{folder.path} is a run, whose settings are fixed; leave out {', '.join(settings)}."
        )
    return folder.model(checkpoint=checkpoint)


def _folder(name: str | Path) -> RunFolder:
    """Return the run folder of pretrained weights, or at a path.

    Raises:
        SettingError: the name is misspelled.
        PluginError: the name belongs to a plugin that cannot be used.
        RunError: the path is not a folder.
    """
    path = local_path(name, "name of a model, of pretrained weights, or of a run folder")
    folder = RunFolder.find(name)
    if folder.exists():
        return folder
    if isinstance(name, str) and len(path.parts) == 1 and not path.suffix:
        # raises an error that suggests similar names
        registry("models").registration(name)
    raise RunError(
        f"{path} is not a run folder or the name of a model, or of pretrained weights; genzoo list "
        "prints all names."
    )
