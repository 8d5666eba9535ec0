"""The cases. Each module registers its own when imported."""
