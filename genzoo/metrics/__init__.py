"""Measurements of a trained model; `register` gives a name to one of your own."""

from genzoo.registry import registries

register = registries["metrics"].register
