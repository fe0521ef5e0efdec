"""The command line ``ncode``."""
