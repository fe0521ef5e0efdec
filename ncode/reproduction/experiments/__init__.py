"""What the notebooks train and evaluate: a module an experiment, and modules that ask questions of its runs."""

import torch

# cuDNN's convolutions would round their factors to TF32's ten bits on a GPU: an error of 1e-3, as large as the
# solvers' tolerance. Experiments compare solver errors, and a GPU's runs with a CPU's.
torch.backends.cudnn.allow_tf32 = False
