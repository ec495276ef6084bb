"""Networks that score pictures: trained first, on seeds of their own, then frozen (experiments.md section 1)."""
