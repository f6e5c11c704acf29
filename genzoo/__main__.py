"""`python -m genzoo` is the command `genzoo`, for torchrun.

Python puts the folder that one is in on the import path for `-m`; it is taken off again, as pip does, before any plugin is looked
for. What Python imports until then it may find in that folder: the command `genzoo`, or `python -P -m genzoo`, never looks there.
"""

import os
import sys


def main() -> None:
    """Run the command; Ctrl-C while it is still imported is one line, too."""
    try:
        from genzoo.cli.app import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)


if __name__ == "__main__":
    if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109
        del sys.path[0]
    main()
