"""Turn an encoded photo into `uint8[H, W, 3]`: the one way that tledge does it, and those of careless apps."""
