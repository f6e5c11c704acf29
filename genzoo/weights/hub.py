"""Push runs and pretrained weights to the Hugging Face Hub."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from genzoo.errors import RunError, SettingError, describe
from genzoo.runs.bundle import bundle
from genzoo.runs.folder import RunFolder
from genzoo.runs.hub import Address, hub
from genzoo.runs.seal import check_seal, is_sealed

__all__ = ["push"]


def push(
    run: str | Path,
    repository: str,
    *,
    license: str = "",
    private: bool = False,
    message: str = "",
) -> str:
    """Push a run, or pretrained weights, to a repository on the Hugging Face Hub.

    The repository gets the weights that `sample` uses (as safetensors), the recipe, the model card,
    the measurements and samples if there are any, and the hash of each file; no checkpoints.
    Absolute paths and user names are removed. The repository is created if it does not exist. Log
    in first, with `hf auth login` or the environment variable `HF_TOKEN`.

    Arguments:
        run: a run folder, or the name of pretrained weights.
        repository: `user/name`.
        license: the license of the weights, an identifier of the Hugging Face Hub, such as
            `"apache-2.0"`. Pretrained weights keep the license on their card.
        private: create a private repository.
        message: the message of the commit.

    Returns:
        The address that loads exactly these weights: `hf://user/name@commit`.

    Raises:
        SettingError: the repository is not `user/name`, the run is a pack, or huggingface_hub is
            not installed.
        RunError: the run has no weights, or the hub refuses them.
    """
    address = Address.parse(repository)
    if address.revision is not None:
        raise SettingError(f"repository = {repository!r}: leave out the revision, as in user/name.")
    package = hub()
    source = RunFolder.find(run)
    if source.path.is_file():
        raise SettingError(f"{source.path} is a pack; push the run folder that it was made from.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle"
        if is_sealed(source.path):
            check_seal(source.path)
            shutil.copytree(source.path, folder)
        else:
            name = address.repository.partition("/")[2]
            bundle(source, folder, name=name, license=license, address=str(address))
        # the hub shows this file; loading does not read it
        shutil.copyfile(folder / "card.md", folder / "README.md")
        try:
            client = package.HfApi(library_name="genzoo")
            client.create_repo(address.repository, private=private, exist_ok=True)
            commit = client.upload_folder(
                repo_id=address.repository,
                folder_path=folder,
                commit_message=message or "Upload a model with genzoo",
            )
        # errors of the hub, the network, and the disk have no common type
        except Exception as error:
            raise RunError(
                f"{address} cannot be pushed: {describe(error)[:300].rstrip('.')}. "
                "Check the name and your access (hf auth login)."
            ) from error
    return str(Address(address.repository, commit.oid))
