"""The commands `data list` and `data clear`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from genzoo.cli.common import console, say
from genzoo.errors import SettingError

__all__ = ["clear", "data", "list_"]

data = typer.Typer(rich_markup_mode=None, help="List or clear the stored datasets.")


@data.command("list")
def list_() -> None:
    """List the datasets that are stored on this machine, with their sizes."""
    from genzoo.data.cache import home
    from genzoo.data.stored import cached
    from genzoo.memory import format_bytes

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("dataset", "size", "last used"):
        table.add_column(column, overflow="fold")
    entries = cached()
    for entry in entries:
        used = entry.last_used.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(escape(entry.name), format_bytes(entry.size), used)
    if entries:
        console.print(table)
    total = format_bytes(sum(entry.size for entry in entries))
    console.print(f"{home()} holds {total}", markup=False, soft_wrap=True)


@data.command()
def clear(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names that genzoo data list shows.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Remove all of them.")] = False,
) -> None:
    """Remove stored datasets, which are downloaded or computed again when they are needed."""
    from genzoo.data.stored import cached, clear_cache
    from genzoo.memory import format_bytes

    if bool(names) == every:
        raise SettingError("Name the datasets to remove, or pass --all; see genzoo data list.")
    removed = clear_cache(*(names or ()))
    for entry in removed:
        console.print(f"removed {entry.name}, {format_bytes(entry.size)}", markup=False)
    for entry in cached():
        if every or entry.name in (names or ()):
            say(f"note: {entry.name} is in use and was kept")
