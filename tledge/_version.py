"""The version of tledge, apart from its face so that every module can import it."""

__version__ = "0.1.0"
