"""The models, one paper a file. `register` adds one of your own, `available` lists the names, `get` imports one."""

from genzoo.registry.lookup import registries

register = registries["models"].register
available = registries["models"].available
get = registries["models"].get
