"""What the notebooks train and evaluate: a module an experiment, and modules that ask questions of its runs."""
