"""`python -m genzoo` is the command `genzoo`, for torchrun."""

from genzoo.cli import main

main()
