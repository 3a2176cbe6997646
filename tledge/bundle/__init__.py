"""Write and read release bundles: manifest, signature, bill of materials, model card, preview page."""
