"""The models, one per file, and the base classes that they share.

`register` adds one, `available` lists the names, and `get` imports one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names
from genzoo.registry.lookup import Registry, registries

if TYPE_CHECKING:
    from genzoo.contract import Model
    from genzoo.models.adversarial import Adversarial
    from genzoo.models.autoencoder import Autoencoder
    from genzoo.models.autoregressive import Autoregressive
    from genzoo.models.conditioning import Conditional
    from genzoo.models.eonade import EoNADE
    from genzoo.models.gan import DCGAN, GAN, LSGAN
    from genzoo.models.latent import LatentModel
    from genzoo.models.latents import slerp
    from genzoo.models.nade import NADE, RNADE, Recursion
    from genzoo.models.pixel_rnn import PixelRNN
    from genzoo.models.pixels import Independent, Markov
    from genzoo.models.vae import VAE
    from genzoo.models.wae import WAEGAN, WAEMMD
    from genzoo.models.wgan import WGAN
    from genzoo.models.wgan_gp import WGANGP
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.models.adversarial": ("Adversarial",),
            "genzoo.models.autoencoder": ("Autoencoder",),
            "genzoo.models.autoregressive": ("Autoregressive",),
            "genzoo.models.conditioning": ("Conditional",),
            "genzoo.models.eonade": ("EoNADE",),
            "genzoo.models.gan": ("DCGAN", "GAN", "LSGAN"),
            "genzoo.models.latent": ("LatentModel",),
            "genzoo.models.latents": ("slerp",),
            "genzoo.models.nade": ("NADE", "RNADE", "Recursion"),
            "genzoo.models.pixel_rnn": ("PixelRNN",),
            "genzoo.models.pixels": ("Independent", "Markov"),
            "genzoo.models.vae": ("VAE",),
            "genzoo.models.wae": ("WAEGAN", "WAEMMD"),
            "genzoo.models.wgan": ("WGAN",),
            "genzoo.models.wgan_gp": ("WGANGP",),
        },
    )

_registry: Registry[Model] = registries["models"]
register = _registry.register
available = _registry.available
get = _registry.get

__all__ = [
    "DCGAN",
    "GAN",
    "LSGAN",
    "NADE",
    "RNADE",
    "VAE",
    "WAEGAN",
    "WAEMMD",
    "WGAN",
    "WGANGP",
    "Adversarial",
    "Autoencoder",
    "Autoregressive",
    "Conditional",
    "EoNADE",
    "Independent",
    "LatentModel",
    "Markov",
    "PixelRNN",
    "Recursion",
    "available",
    "get",
    "register",
    "slerp",
]
