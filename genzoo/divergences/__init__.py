"""The divergences; `register` gives a name to one of your own."""

from genzoo.registry import registries

register = registries["divergences"].register
