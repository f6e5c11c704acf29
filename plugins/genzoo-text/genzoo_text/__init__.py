"""Lines of text for genzoo: WGAN-GP's character model, its networks, datasets, and a metric."""

__all__: list[str] = []
