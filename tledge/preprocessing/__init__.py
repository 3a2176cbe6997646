"""Turn an encoded photo into `uint8[H, W, 3]`: the way that tledge does it, and those of apps."""
