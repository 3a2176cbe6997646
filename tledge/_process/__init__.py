"""Start and end processes, handle signals, silence native code, load optional libraries."""
