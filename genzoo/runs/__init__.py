"""What is kept on disk: recipes, run folders, checkpoints, and the record of how a model was trained."""
