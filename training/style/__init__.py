"""What the style trainer and its suite are made of."""
