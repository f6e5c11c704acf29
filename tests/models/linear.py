"""The part with which an autoencoder is linear, so that everything about it is known in closed form."""

LINEAR = {"name": "mlp", "hidden": []}
