"""The priors: distributions of latent codes. `register` adds one of your own, `available` lists the names, `get` imports one."""

from genzoo.registry.lookup import registries

register = registries["priors"].register
available = registries["priors"].available
get = registries["priors"].get
