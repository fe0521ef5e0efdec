"""The models of the two papers."""
