"""Data sources, the prepared cache, streaming, splits, duplicates, inspection."""
