"""Lines of text for genzoo: WGAN-GP's character model, its networks, data sets and a metric of n-grams."""
