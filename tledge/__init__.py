"""tledge: from a TOML recipe to a verified bundle that runs on the edge."""

__version__ = "0.1.0"
