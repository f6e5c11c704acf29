"""The command line: each command is a few lines over a public function."""

__all__: list[str] = []
