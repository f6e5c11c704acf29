"""`python -m genzoo` is the command `genzoo`, for torchrun.

Python puts the folder that one is in on the import path for `-m`; it is taken off again, as pip does, before any plugin is looked
for. What Python imports until then it may find in that folder: the command `genzoo`, or `python -P -m genzoo`, never looks there.
"""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109
    del sys.path[0]

from genzoo.cli import main

main()
