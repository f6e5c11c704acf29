"""The metrics: measurements of a trained model. `register` adds one of your own, `available` lists the names, `get` imports one."""

from genzoo.registry.lookup import registries

register = registries["metrics"].register
available = registries["metrics"].available
get = registries["metrics"].get
