"""From a TOML file to a checked recipe, and from a folder of photos to a TOML file."""
