"""The claims of both papers, and the numbers that they printed."""
