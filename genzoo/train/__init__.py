"""The one trainer: `fit` a model, keep it in a run folder, `load` it again."""
