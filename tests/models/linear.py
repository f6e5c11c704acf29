"""A part for linear autoencoders, whose optimum is known in closed form."""

LINEAR = {"name": "mlp", "hidden": []}
