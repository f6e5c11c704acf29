"""Run the Python code of the tutorials, and keep the figures that it saves.

python docs/tutorials/figures.py first-model
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"!\[[^]]*\]\(([\w-]+\.(?:png|svg))\)")


def run(page: Path) -> None:
    """Run the blocks of a page in order, in an empty folder, and copy its figures."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        namespace: dict[str, object] = {}
        for code in FENCE.findall(text):
            exec(compile(code, str(page), "exec"), namespace)
        for name in FIGURE.findall(text):
            (page.parent / name).write_bytes(Path(name).read_bytes())


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or [page.stem for page in FOLDER.glob("*.md")]:
        run(FOLDER / f"{name}.md")
