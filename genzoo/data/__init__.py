"""Data sets and the path from stored rows to batches on the device."""
