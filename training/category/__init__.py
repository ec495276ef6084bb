"""What the category trainer, its study and its suite are made of."""
