"""Encoders, decoders and critics, shared by all models."""
