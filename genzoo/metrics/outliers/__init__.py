"""Outlier detection: scores of pictures or rows, and how well they separate two datasets."""

__all__: list[str] = []
