"""Figures of experiments.md section 2: pure functions of tensors, each with a weight per picture for the bootstrap."""
