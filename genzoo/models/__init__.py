"""The models, one paper a file; `register` gives a name to one of your own."""

from genzoo.registry import registries

register = registries["models"].register
