"""Packs hold a run for any machine; files of strangers are refused with clear errors."""

import os
import pickle
import stat
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import genzoo
from genzoo.runs.folder import RunFolder
from tests.runs.files import content

HOME = "/home/ana/secret"


@pytest.fixture
def folder(tmp_path):
    """A saved run with a card, a report, and files that do not belong into a pack."""
    model = genzoo.load("wae-mmd", shape=(4,), latent_dim=2, encoder="mlp", decoder="mlp")
    run = genzoo.save(model, tmp_path / "run", {"name": "digits"})
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[run]", f'[run]\nnote = "{HOME}/runs/7"'))
    (run / "card.md").write_text(f"Trained in {HOME}/runs/7; see https://example.org/a/b.\n")
    (run / "report" / "digits").mkdir(parents=True)
    (run / "report" / "digits" / "evaluation.json").write_text(f'{{"data": "{HOME}/x"}}')
    (run / "report" / "samples.png").write_bytes(b"\x89PNG/home/ana")
    for name in ("evaluation.html", "spectrum.svg"):  # their tags would look like paths
        (run / "report" / name).write_text("<g></g>")
    (run / "report" / "link.md").symlink_to(run / "card.md")
    (run / "report" / "evil.py").write_text("raise SystemExit")
    (run / "checkpoints").mkdir()
    return run


def rewritten(source, target, change=lambda members: None, **options):
    """Write the members of a zip file again, changed; values are bytes."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def test_a_pack_holds_weights_recipe_card_and_report(folder, tmp_path):
    path = genzoo.pack(folder, tmp_path / "run.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "recipe.toml",
            "model.safetensors",
            "card.md",
            "report/digits/evaluation.json",
            "report/samples.png",
        ]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("model.safetensors") == (folder / "model.safetensors").read_bytes()
        assert archive.read("card.md") == b"Trained in 7; see https://example.org/a/b.\n"
        assert b"ana" not in archive.read("recipe.toml") + archive.read(
            "report/digits/evaluation.json"
        )


def test_the_same_run_gives_the_same_bytes(folder, tmp_path):
    first = genzoo.pack(folder, tmp_path / "a.zip").read_bytes()
    for file in folder.rglob("*"):
        os.utime(file, (1, 1))
        if file.is_file():
            file.chmod(0o600)
    folder.rename(tmp_path / "elsewhere")
    assert genzoo.pack(tmp_path / "elsewhere", tmp_path / "b.zip").read_bytes() == first


def test_a_pack_opens_without_its_data_on_another_machine(tmp_path, monkeypatch):
    pictures = tmp_path / "home" / "ana" / "rows.npy"
    pictures.parent.mkdir(parents=True)
    rows = torch.rand(12, 4)
    np.save(pictures, rows.numpy())
    data = {"name": "npy", "path": str(pictures)}
    run = genzoo.fit(
        "wae-mmd", data, tmp_path / "run", steps=2, batch_size=4, device="cpu", ema=0.9
    )
    packed = genzoo.pack(run, tmp_path / "run.zip")
    before = content(tmp_path / "run")
    weights = load_file(tmp_path / "run" / "model-ema.safetensors")
    expected = run.model.decode(torch.ones(2, run.model.latent_dim))
    other = tmp_path / "other machine"
    other.mkdir()
    moved = packed.rename(other / "downloaded.zip")
    assert content(tmp_path / "run") == before
    pictures.unlink()
    (tmp_path / "run").rename(tmp_path / "gone")
    monkeypatch.chdir(other)
    assert str(tmp_path).encode() not in moved.read_bytes()
    for model in (genzoo.load("downloaded.zip"), genzoo.Run.open("downloaded.zip").model):
        state = model.state_dict()
        assert all(torch.equal(state[name], value) for name, value in weights.items())
        assert torch.equal(model.decode(torch.ones(2, model.latent_dim)), expected)
        assert model.sample(3).shape == (3, 4)
        assert not model.training
    opened = genzoo.Run.open("downloaded.zip")
    assert (opened.steps, opened.folder) == (2, type(moved)("downloaded.zip"))
    assert opened.history == []
    assert RunFolder.find("downloaded.zip").recipe()["data"]["path"] == "rows.npy"
    assert content(other).keys() == {"downloaded.zip"}  # opening writes nothing


def test_run_open_reads_a_folder(tmp_path):
    run = genzoo.fit(
        "independent", torch.eye(4).repeat(4, 1), tmp_path / "run", steps=1, device="cpu"
    )
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "loss": "nan"}\n{"step": 3, "lo')
    opened = genzoo.Run.open(tmp_path / "run")
    *lines, added = opened.history
    assert lines == run.history
    assert added["step"] == 2
    assert added["loss"] != added["loss"]
    assert torch.equal(opened.model.logit, run.model.logit)


def test_the_best_weights_are_packed_too(folder, tmp_path):
    (folder / "best.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    path = genzoo.pack(folder, tmp_path / "run.zip")
    assert genzoo.load(path, checkpoint="best").sample(1).shape == (1, 4)


def test_what_cannot_be_packed_is_named(folder, tmp_path):
    with pytest.raises(genzoo.SettingError, match=r"run\.tar.*ends in \.zip"):
        genzoo.pack(folder, tmp_path / "run.tar")
    run = genzoo.fit("independent", torch.eye(4).repeat(4, 1), steps=1, device="cpu")
    with pytest.raises(genzoo.SettingError, match=r"has no folder.*genzoo\.save"):
        genzoo.pack(run, tmp_path / "run.zip")
    (folder / "checkpoints" / "step-000009.ckpt").touch()
    with pytest.raises(genzoo.RunError, match=r"has not finished.*genzoo resume"):
        genzoo.pack(folder, tmp_path / "run.zip")
    with pytest.raises(genzoo.RunError, match=r"nowhere is not a run folder"):
        genzoo.pack(tmp_path / "nowhere", tmp_path / "run.zip")
    (tmp_path / "old.zip").touch()
    with pytest.raises(genzoo.RunError, match=r"old\.zip is a file.*not resumed or packed again"):
        genzoo.pack(tmp_path / "old.zip", tmp_path / "run.zip")
    assert not (tmp_path / "run.zip").exists()


def add(name, data=b"x"):
    return lambda members: members.update({name: data})


def with_torch_file(members):
    """Weights that would run code if they were unpickled."""

    class Evil:
        def __reduce__(self):
            return os.system, ("touch executed",)

    members["model.safetensors"] = pickle.dumps(Evil())


HOSTILE = {
    "traversal": (add("../evil.py"), r'"\.\./evil\.py" is a path outside'),
    "absolute": (add("/etc/passwd"), "is a path outside"),
    "drive": (add("C:evil.py"), "is a path outside"),
    "backslash": (add("..\\evil.py"), "is a path outside"),
    "no recipe": (lambda members: members.pop("recipe.toml"), r"has no recipe\.toml.*genzoo pack"),
    "no weights": (lambda members: members.pop("model.safetensors"), r"no model\.safetensors"),
    "pickle": (with_torch_file, r"model\.safetensors are damaged.*again"),
    "not TOML": (add("recipe.toml", b"[model"), r"recipe\.toml is damaged"),
    "long recipe": (add("recipe.toml", b"#" * 2_000_000), "more than 1,048,576 bytes|would expand"),
    "no run": (add("recipe.toml", b'model = "vae"'), "has no format number"),
    "weights of another": (
        lambda members: members.update(
            {"recipe.toml": members["recipe.toml"].replace(b"latent_dim = 2", b"latent_dim = 3")}
        ),
        "another model's weights",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_hostile_files_are_refused(case, method, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change, message = HOSTILE[case]
    good = genzoo.pack(folder, tmp_path / "good.zip")
    bad = rewritten(good, tmp_path / "bad.zip", change, compression=method)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(genzoo.RunError, match=message) as error:
        genzoo.load(bad)
    assert "bad.zip" in str(error.value)
    assert set(tmp_path.rglob("*")) == before


def test_a_pack_that_was_compressed_again_is_read(folder, tmp_path):
    good = genzoo.pack(folder, tmp_path / "good.zip")
    path = rewritten(good, tmp_path / "again.zip", compression=zipfile.ZIP_DEFLATED)
    assert genzoo.load(path).sample(2).shape == (2, 4)


def test_the_suffix_of_a_pack_may_be_in_capitals(folder, tmp_path):
    path = genzoo.pack(folder, tmp_path / "run.zip").rename(tmp_path / "RUN.ZIP")
    assert genzoo.load(path).sample(2).shape == (2, 4)


def test_damaged_compressed_members_are_refused(folder, tmp_path):
    good = genzoo.pack(folder, tmp_path / "good.zip")
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        bad = rewritten(good, tmp_path / "bad.zip", compression=method)
        content = bytearray(bad.read_bytes())
        content[60:90] = bytes(30)
        bad.write_bytes(content)
        with pytest.raises(genzoo.RunError, match=r"bad\.zip is not a pack, or is damaged"):
            genzoo.load(bad)


def test_a_bomb_is_not_expanded(folder, tmp_path, monkeypatch):
    good = genzoo.pack(folder, tmp_path / "good.zip")
    zeros = add("model.safetensors", bytes(30_000_000))
    bomb = rewritten(good, tmp_path / "bomb.zip", zeros, compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr("shutil.copyfileobj", lambda *_: pytest.fail("it was expanded"))
    with pytest.raises(genzoo.RunError, match=r"bomb\.zip: model\.safetensors would expand from"):
        genzoo.load(bomb)
    # the central directory says that the member is large in the file
    content = bytearray(bomb.read_bytes())
    entry = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    struct.pack_into("<I", content, entry + 20, 2**31)
    bomb.write_bytes(content)
    with pytest.raises(genzoo.RunError, match=r"would expand|Overlapped"):
        genzoo.load(bomb)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("model.safetensors", stat.S_IFREG, "is in it twice"),
        ("Model.safetensors", stat.S_IFREG, "is in it twice"),
        ("./recipe.toml", stat.S_IFREG, "is in it twice"),
        ("link", stat.S_IFLNK, "is a link"),
    ],
)
def test_links_and_double_members_are_refused(name, kind, message, folder, tmp_path):
    path = genzoo.pack(folder, tmp_path / "run.zip")
    member = zipfile.ZipInfo(name)
    member.external_attr = kind << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(genzoo.RunError, match=message):
        genzoo.load(path)


def test_damaged_files_are_refused(folder, tmp_path):
    path = genzoo.pack(folder, tmp_path / "run.zip")
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        middle = archive.getinfo("model.safetensors").header_offset + 2000
        directory = archive.start_dir
    damaged = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not a zip file",
        "changed": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        # the central directory says that members are encrypted, or compressed by an unknown method
        "encrypted": whole[: directory + 8] + struct.pack("<H", 1) + whole[directory + 10 :],
        "unknown": whole[: directory + 10] + struct.pack("<H", 77) + whole[directory + 12 :],
    }
    for name, data in damaged.items():
        path.write_bytes(data)
        with pytest.raises(genzoo.RunError, match=r"run\.zip is not a pack, or is damaged"):
            genzoo.load(path)
        assert path.read_bytes() == data, name


def test_the_commands_pack_and_read_packs(folder, tmp_path, genzoo_):
    path = tmp_path / "run.zip"
    code, text = genzoo_("pack", folder, "-o", path)
    assert (code, "run.zip" in text) == (0, True)
    code, text = genzoo_("sample", path, "-n", 2, "-o", tmp_path / "samples.npy")
    assert (code, "2 of shape (4,)" in text) == (0, True)
    code, text = genzoo_("sample", tmp_path / "good.zip")
    assert (code, "is not a run" in text) == (2, True)
    code, text = genzoo_("resume", path)
    assert (code, "run.zip is a file; expected a run folder" in text) == (2, True)
    with pytest.raises(genzoo.SettingError, match=r"run\.zip is a pack; store the run folder"):
        genzoo.weights.store(path, tmp_path / "entry")


def test_the_commands_evaluate_a_pack_and_begin_from_it(tmp_path, genzoo_, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", torch.eye(4).repeat(4, 1).numpy())
    model = genzoo.load("independent", shape=(4,))
    genzoo.save(model, "run", {"name": "npy", "path": "rows.npy"})
    path = genzoo.pack("run", tmp_path / "run.zip")
    before = path.read_bytes()
    code, text = genzoo_("evaluate", "run.zip", "likelihood")
    assert (code, "open run-report/evaluation.html" in text) == (0, True), text
    code, text = genzoo_("train", "--from", "run.zip", "--out", "second")
    assert code == 0, text
    assert RunFolder("second").recipe()["model"]["name"] == "independent"
    assert path.read_bytes() == before
