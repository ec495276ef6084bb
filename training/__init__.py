"""Everything that makes the weights which the nodes load. Run from the repository's root: `python -m training.NAME`."""
