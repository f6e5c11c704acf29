"""The drawings of the model pages, one module for each family of models."""
