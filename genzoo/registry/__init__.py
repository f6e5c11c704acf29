"""Names: the registries, plugins, and `build`, which turns a name or a table into an object. No torch at import."""
