"""The model card of a run: `card.md`, with front matter as the Hugging Face Hub reads it.

Everything in a card comes from the run folder. It may be a stranger's, so every text is escaped:
it cannot end a block of the card or begin another one.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genzoo.contract import Model, is_image
from genzoo.errors import printable
from genzoo.files import write_text
from genzoo.runs.checkpoint import read_weights
from genzoo.runs.folder import RunFolder
from genzoo.runs.markdown import code, escaped, fenced, quoted
from genzoo.runs.portable import portable, portable_recipe, portable_text
from genzoo.runs.seal import sha256

__all__ = ["CARD", "measurements", "write_card"]

CARD = "card.md"
LICENSES = {
    "digits": ("CC BY 4.0", "https://doi.org/10.24432/C50P49"),
    "fashion-mnist": ("MIT", "https://github.com/zalandoresearch/fashion-mnist"),
    "kmnist": ("CC BY-SA 4.0", "https://github.com/rois-codh/kmnist"),
}
"""Dataset -> its license, and the page that states it."""
HUB_DATASETS = {"fashion-mnist": "zalando-datasets/fashion_mnist", "mnist": "ylecun/mnist"}
"""Dataset -> its name on the Hugging Face Hub."""
_SHOWN = ("frechet", "precision-recall", "likelihood", "reconstruction", "class-consistency")
"""The metrics whose measurements the front matter lists."""
_LIMITS = (
    "For research, teaching, and tests of software. The model imitates its training data, with "
    "their biases and gaps, and it may reproduce training examples. Do not present its samples as "
    "real data. It was not tested on other data."
)


def write_card(
    folder: RunFolder,
    model: Model,
    *,
    name: str = "",
    license: str = "",
    source: str = "",
    trained_in: RunFolder | None = None,
) -> None:
    """Write `card.md` into a run folder.

    Arguments:
        folder: the folder of a trained run.
        model: its model, whose parameters are counted.
        name: the title of the card; by default, the model and its data.
        license: the license of the weights, an identifier of the Hugging Face Hub, such as
            `"apache-2.0"`.
        source: the argument of `genzoo.load` that loads the model; by default, the folder.
        trained_in: the folder with the log of the training; by default, the same folder.
    """
    text = _card(folder, model, name, license, source, trained_in or folder)
    write_text(folder.path / CARD, text)


def measurements(folder: Path) -> list[Mapping[str, Any]]:
    """Return the measurements in the report of a run folder; empty if there is no report."""
    try:
        content = json.loads((folder / "report" / "evaluation.json").read_text(encoding="utf-8"))
        rows = content["measurements"]
        return [row for row in rows if {"metric", "quantity", "value", "n"} <= {*row}]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _card(
    folder: RunFolder, model: Model, name: str, license: str, source: str, trained_in: RunFolder
) -> str:
    recipe, facts = portable(folder.recipe()), portable(folder.facts())
    model_name, data_name = str(recipe["model"]["name"]), str(recipe["data"].get("name", ""))
    title = name or (f"{model_name} on {data_name}" if data_name else model_name)
    rows = measurements(folder.path)
    sections = [
        _front_matter(title, model_name, model, data_name, license, rows),
        f"# {escaped(title)}",
        _about(model, data_name),
        _samples(folder),
        "## Load the model",
        _loading(folder, source, facts, model),
        "## Data and license",
        _data(data_name, facts, license),
        "## Measurements",
        _table(rows),
        "## Training",
        _training(trained_in, recipe, facts, name),
        "## Reproduction",
        _reproduction(folder, facts, name),
        "## Recipe",
        fenced(portable_recipe(folder.recipe_file.read_bytes()), "toml"),
        "## Intended use and limits",
        _LIMITS,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(
    title: str,
    name: str,
    model: Model,
    data: str,
    license: str,
    rows: Iterable[Mapping[str, Any]],
) -> str:
    """Return the front matter. Its texts are JSON strings, which YAML reads as they are."""
    lines = ["---", "library_name: genzoo"]
    if license:
        lines.append(f"license: {quoted(license)}")
    lines.append(f"tags: [genzoo, generative-model, {quoted(name)}]")
    if data:
        lines.append(f"datasets: [{quoted(HUB_DATASETS.get(data, data))}]")
    results = [row for row in rows if row["metric"] in _SHOWN and _is_number(row["value"])]
    if data and results:
        is_unconditional = is_image(model.shape) and not model.given
        task = "unconditional-image-generation" if is_unconditional else "other"
        lines += [
            "model-index:",
            f"- name: {quoted(title)}",
            "  results:",
            f"  - task: {{type: {task}}}",
            f"    dataset: {{name: {quoted(data)}, type: {quoted(data)}, split: test}}",
            "    metrics:",
        ]
    for row in results if data else ():
        texts = (row["metric"], row["quantity"], row.get("network"))
        label = ", ".join(str(text) for text in texts if text)
        lines.append(
            f"    - {{type: {quoted(row['metric'])}, name: {quoted(label)}, "
            f"value: {float(row['value'])!r}}}"
        )
    return "\n".join([*lines, "---"])


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _about(model: Model, data: str) -> str:
    first = (inspect.getdoc(type(model)) or "").partition("\n\n")[0]
    shape = " x ".join(map(str, model.shape))
    return (
        f"{escaped(' '.join(first.split()))} It generates examples of shape {shape} like those of "
        f"{code(data or 'its training data')} and has {model.parameter_count:,} parameters."
    )


def _samples(folder: RunFolder) -> str:
    pictures = sorted(folder.samples.glob("step-*.png"))
    names = [f"samples/{path.name}" for path in pictures[-1:]]
    if (folder.path / "samples.png").exists():
        names = ["samples.png"]
    return "\n".join(f"![Samples of the model, not selected]({quote(name)})" for name in names)


def _loading(folder: RunFolder, source: str, facts: Mapping[str, Any], model: Model) -> str:
    """Return the code that loads the model, and the packages that it needs."""
    path = source or portable_text(folder.path.resolve().name)
    text = json.dumps(printable(path), ensure_ascii=False)
    lines = ["import genzoo", "", f"model = genzoo.load({text})", "samples = model.sample(64)"]
    if model.given and not getattr(model, "classes", 0):
        shape = getattr(model, "given_shape", model.shape)
        x = f"x = torch.rand(4, {', '.join(map(str, shape))})  # put your examples here"
        lines = ["import torch", "", *lines[:-1], x, "samples = model.sample(4, given=x)"]
    block = fenced("\n".join(lines) + "\n", "python")
    needs = facts.get("needs")
    needs = [need for need in needs if isinstance(need, str)] if isinstance(needs, list) else []
    if not needs:
        return block
    listed = "; ".join(map(code, needs))
    return f"{block}\n\nThe model needs, in addition to genzoo: {listed}. genzoo installs nothing."


def _data(data: str, facts: Mapping[str, Any], license: str) -> str:
    weights = "The license of the weights is not stated."
    if license:
        weights = f"The license of the weights is {code(license)}."
    if not data:
        return f"The run does not name its training data. {weights}"
    text = f"Training data: {code(data)}"
    rows = facts.get("data")
    train = rows.get("train") if isinstance(rows, Mapping) else None
    if isinstance(train, Mapping):
        text += f" ({', '.join(code(f'{key}: {value}') for key, value in train.items())})"
    if data in LICENSES:
        known, page = LICENSES[data]
        text += f". Their license is {known} ({page})"
    else:
        text += ". Their license is not recorded here; see their source"
    return f"{text}. {weights}"


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the measurements as a table, or a sentence that there are none."""
    lines = []
    for row in rows:
        cells = (
            code(f"{row['metric']} {row['quantity']}"),
            _number(row["value"]),
            _number(row.get("standard_error")),
            _number(row.get("floor")),
            _number(row["n"]),
            code(str(row["network"])) if row.get("network") else "",
        )
        lines.append(" | ".join(["", *(cell.replace("|", "\\|") for cell in cells), ""]).strip())
    if not lines:
        return "Not measured. `genzoo evaluate` measures a run, and writes the results here."
    head = [
        "Measured with these weights on held-out examples. The floor is the same quantity for real "
        "data, which no model is expected to beat, or by chance.",
        "",
        "| quantity | value | standard error | floor | n | network |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    return "\n".join([*head, *lines])


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if type(value) is float else escaped(str(value))


def _training(
    folder: RunFolder, recipe: Mapping[str, Any], facts: Mapping[str, Any], name: str
) -> str:
    name = name or portable_text(folder.path.resolve().name)
    steps, seconds = _last_line(folder)
    train = recipe.get("train", {})
    rows = {
        "Command": code(f"genzoo train recipe.toml --out runs/{name}"),
        "Steps": steps,
        "Seed": escaped(str(train.get("seed", ""))),
        "Device": escaped(str(facts.get("device", ""))),
        "CPU capability": escaped(str(facts.get("cpu_capability", ""))),
        "Threads": escaped(str(facts.get("threads", ""))),
        "Processes": escaped(str(facts.get("processes", ""))),
        "Seconds": seconds,
        "torch": escaped(str(facts.get("torch", ""))),
        "Python": escaped(str(facts.get("python", ""))),
        "genzoo": escaped(str(facts.get("genzoo", ""))),
    }
    return "\n".join(f"- {key}: {value}" for key, value in rows.items() if value)


def _last_line(folder: RunFolder) -> tuple[str, str]:
    """Return the steps and the seconds in the last line of the log."""
    try:
        lines = (folder.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        line = json.loads(lines[-1])
        return f"{line['step']:,}", f"{line['seconds']:,.0f}"
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return "", ""


def _reproduction(folder: RunFolder, facts: Mapping[str, Any], name: str) -> str:
    """Return the hashes of the weights, and what a run needs to reach the same ones."""
    files = (folder.weights, folder.averaged, folder.best)
    listed = [
        f"- {code(file.name)}, step {read_weights(file)[1]:,}: {code(sha256(file))}"
        for file in files
        if file.exists()
    ]
    is_reproducible = str(facts.get("device", "")).startswith("cpu") and "started" in facts
    if not is_reproducible:
        sentences = ["These weights are not reproducible bit for bit. The SHA-256 of the files:"]
    else:
        sentences = [
            "Training on a CPU is reproducible bit for bit, also after an interruption. Use the "
            "same recipe, data, and version of genzoo, and the torch, CPU capability, threads, and "
            "processes above."
        ]
        if name:
            run = portable_text(f"runs/{name}")
            sentences.append(
                f"{code(f'genzoo.weights.store({run!r}, {name!r})')} then writes the weights in "
                "half precision."
            )
        sentences.append("`sha256sum` prints:")
    return "\n".join([" ".join(sentences), "", *listed])
