"""The benchmark of seeds trained together measures what it says: the same losses and gradients, seed by seed."""

import pytest
import torch

seeds = pytest.importorskip("benchmarks.seeds")


@pytest.mark.parametrize("case", ["reflection, open", "annuli, closed"])
def test_a_step_together_has_every_seeds_own_gradient(case, float64):
    build, draw, loss = seeds.CASES[case]
    torch.manual_seed(0)
    models, batches = [build(seed, True) for seed in range(2)], [draw() for _ in range(2)]
    batches = [(x.double(), target.double()) for x, target in batches]
    stacked, step = seeds.together([build(seed, False) for seed in range(2)], loss)
    x, target = (torch.stack(parts) for parts in zip(*batches, strict=True))
    found = dict(zip(stacked, step(x, target), strict=True))
    for k, (model, (one, wanted)) in enumerate(zip(models, batches, strict=True)):
        gradients = torch.autograd.grad(loss(model(one), wanted), list(model.parameters()))
        for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
            torch.testing.assert_close(found[name][k], gradient, rtol=1e-9, atol=1e-12)
