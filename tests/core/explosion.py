"""z' = z², which two of four samples leave for infinity before the end: what a partial solve has to give back."""

import pytest
import torch

TIMES = [0.0, 0.4, 1.0]


def starts() -> torch.Tensor:
    return torch.tensor([[0.5], [3.0], [-1.0], [2.0]], requires_grad=True)


def explode(t, z):
    return (z[0] ** 2,)


def must_be_partial(found, x) -> None:
    """Samples 1 and 3 failed at 1/z(0); the others have the exact path and its gradient."""
    assert sorted(found.failures) == [1, 3]
    for sample, at in ((1, 1 / 3), (3, 1 / 2)):
        assert found.failures[sample].sample == sample
        assert found.failures[sample].t == pytest.approx(at, abs=1e-3)
    (path,) = found.path
    assert path[:, [1, 3]].isnan().all()
    exact = 1 / (1 / x[[0, 2]] - torch.tensor(TIMES)[:, None, None])
    torch.testing.assert_close(path[:, [0, 2]], exact, rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(path[-1, [0, 2]].sum(), x)
    (expected,) = torch.autograd.grad(exact[-1].sum(), x)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
    assert (gradient[[1, 3]] == 0).all()
