"""Tests of the git revision.

In a valid repository, it equals git's answer. In a hostile one, nothing runs, hangs, or leaks.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from genzoo.runs.revision import revision

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git creates the repositories")
HASH = "0123456789abcdef0123456789abcdef01234567"


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, without the settings of the user and the system."""
    command = [
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "protocol.file.allow=always",
        *arguments,
    ]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "topic/one")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


@needs_git
def test_the_revision_equals_the_answer_of_git(repository, tmp_path):
    def agrees(folder: Path) -> bool:
        return revision(folder) == git(folder, "rev-parse", "HEAD")

    below = repository / "a" / "b"
    below.mkdir(parents=True)
    assert agrees(repository)
    assert agrees(below)
    git(repository, "pack-refs", "--all")
    assert agrees(repository)
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")  # newer than the packed one
    assert agrees(repository)
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    git(tmp_path / "tree", "commit", "-q", "--allow-empty", "-m", "third")
    assert agrees(tmp_path / "tree")
    assert revision(tmp_path / "tree") != revision(repository)
    git(repository, "symbolic-ref", "refs/heads/alias", "refs/heads/other")
    git(repository, "symbolic-ref", "HEAD", "refs/heads/alias")
    assert agrees(repository)
    git(repository, "checkout", "-q", "--detach")
    assert agrees(repository)
    outer = tmp_path / "outer"
    git(tmp_path, "init", "-q", str(outer))
    git(outer, "submodule", "--quiet", "add", str(repository), "inner")
    assert (outer / "inner" / ".git").is_file()
    assert agrees(outer / "inner")


@needs_git
def test_sha256_repositories_and_repositories_without_a_commit(tmp_path):
    git(tmp_path, "init", "-q", "--object-format=sha256")
    assert revision(tmp_path) is None
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    assert len(revision(tmp_path) or "") == 64
    assert revision(tmp_path) == git(tmp_path, "rev-parse", "HEAD")


@needs_git
def test_reading_the_revision_of_a_partial_clone_runs_no_program(repository, tmp_path, python):
    """`git describe` looks for the object of the missing tag, so it runs `uploadpack`."""
    marker, program = tmp_path / "marker", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    for name, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialclone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": str(tmp_path),
        "remote.origin.uploadpack": str(program),
        "core.fsmonitor": str(program),
    }.items():
        git(repository, "config", name, value)
    marker.unlink(missing_ok=True)
    (repository / ".git" / "refs" / "tags" / "x").write_text(HASH + "\n")
    recipe = (
        "import genzoo; genzoo.fit('vae', 'digits', 'run', steps=1, batch_size=8, progress=False)"
    )
    subprocess.run([python, "-P", "-c", recipe], cwd=repository, check=True)
    assert not marker.exists()
    head = (repository / ".git" / "refs" / "heads" / "topic" / "one").read_text().strip()
    assert f'git = "{head}"' in (repository / "run" / "recipe.toml").read_text()


@pytest.mark.parametrize(
    "head",
    [
        "ref: refs/../../secret", "ref: /etc/hostname", "ref: refs/heads/.hidden",
        "ref: refs//secret", "ref: secret", "not a hash", HASH[:-1], HASH + "0", HASH.upper(), "",
        "ref: refs/heads/loop", "ref: refs/heads/\x1b[31m", "ref: refs/heads/link",
        HASH + "\n" * 10_000,
    ],
)  # fmt: skip
def test_an_invalid_reference_is_not_followed(tmp_path, head):
    heads = tmp_path / ".git" / "refs" / "heads"
    heads.mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_text(HASH)
    (tmp_path / ".git" / "secret").write_text(HASH)
    (heads / "loop").write_text("ref: refs/heads/loop")
    (heads / "link").symlink_to(secret)
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert revision(tmp_path) is None


def test_links_pipes_and_unreadable_text_give_no_revision(tmp_path):
    git = tmp_path / ".git"
    git.mkdir()
    assert revision(tmp_path) is None  # no HEAD
    (tmp_path / "elsewhere").write_text(HASH)
    (git / "HEAD").symlink_to(tmp_path / "elsewhere")
    assert revision(tmp_path) is None
    (git / "HEAD").unlink()
    os.mkfifo(git / "HEAD")
    assert revision(tmp_path) is None  # reading a pipe must not wait for a writer
    (git / "HEAD").unlink()
    (git / "HEAD").write_bytes(b"\xff" * 40)
    assert revision(tmp_path) is None
    (git / "HEAD").write_text(HASH)
    assert revision(tmp_path) == HASH
    (git / "refs").symlink_to(tmp_path)  # a folder of references that lies outside
    (git / "HEAD").write_text("ref: refs/elsewhere")
    assert revision(tmp_path) is None
    shutil.rmtree(git)
    for text in ("gitdir: a\x00b", "gitdir: ", "gitdir: loop\nmore", "nonsense", "gitdir: .git"):
        git.write_text(text)
        assert revision(tmp_path) is None
    git.unlink()
    git.symlink_to(git)
    assert revision(tmp_path) is None
