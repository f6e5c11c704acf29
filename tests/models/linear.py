"""A part that makes an autoencoder linear, so that its optimum is known in closed form."""

LINEAR = {"name": "mlp", "hidden": []}
