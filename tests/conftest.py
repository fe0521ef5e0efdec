"""What all tests share: checked shapes, one thread, figures without a screen."""

from __future__ import annotations

import os
import shutil

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import jaxtyping
import pytest
import torch

# Before anything imports ncode: every annotated shape in the library is checked at every call of every test.
jaxtyping.install_import_hook("ncode", "beartype.beartype")

torch.set_num_threads(1)

# How long an example takes is the machine's affair, on a busy one a hundred times what it is on another.
hypothesis.settings.register_profile("anywhere", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("anywhere")

# `make test` would hand its flags and its depth to every make that a test calls, which then says where it is, too.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(name, None)


@pytest.fixture
def float64():
    """Double precision as the default for one test: what it builds is exact enough to be checked tightly."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def unchecked():
    """The library as a user has it, without checked shapes: for tests of what it says about a wrong input itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def chromium():
    """A browser, for one module: Playwright's event loop is in the way of other modules' own."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
