"""Run `python -m genzoo`, which is the command `genzoo`; torchrun needs this form.

With `-m`, Python puts the current folder on the import path. This module removes it before any
plugin is imported, as pip does. Modules that Python imports earlier may still come from that
folder. The command `genzoo` and `python -P -m genzoo` never look there.
"""

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command. Ctrl-C during the imports is also reported in one line."""
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
