"""Feature networks: fixed maps from examples to features, and the files of their weights."""

__all__: list[str] = []
