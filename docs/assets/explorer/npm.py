"""Unpack pinned packages of npm into build/npm/: `python npm.py axe-core`.

A package is downloaded once and compared with its hash.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "build/npm"
PINS = {
    "onnxruntime-web": (
        "1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        ["dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"],
    ),
    "axe-core": (
        "4.14.1",
        "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        ["axe.min.js"],
    ),
}
"""Package -> its version, the SHA-512 of its archive, and the files that are needed."""


def unpack(package: str) -> list[Path]:
    """Return the files of a package, after downloading it if necessary.

    Raises:
        OSError: npm is not installed, cannot download the package, or delivers
            another one.
    """
    version, expected, members = PINS[package]
    folder = FOLDER / f"{package}-{version}"
    files = [folder / Path(member).name for member in members]
    if all(file.is_file() for file in files):
        return files
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("npm is not installed")
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", "--silent", f"{package}@{version}"]
        result = subprocess.run(command, cwd=temporary, capture_output=True, text=True, check=False)
        if result.returncode:
            raise OSError(f"npm cannot download {package} {version}: {result.stderr.strip()}")
        (archive,) = Path(temporary).iterdir()
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != expected:
            raise OSError(f"{package} {version} has the SHA-512 {found}, not {expected}")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            for member, file in zip(members, files, strict=True):
                content = tar.extractfile(f"package/{member}")
                assert content is not None, member
                file.write_bytes(content.read())
    return files


if __name__ == "__main__":
    for name in sys.argv[1:]:
        try:
            unpack(name)
        except OSError as error:
            print(f"Left out {name}: {error}.")
