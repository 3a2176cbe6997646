"""What ships: manifest, reader, writer, signature, bill of materials, model card, preview page."""
