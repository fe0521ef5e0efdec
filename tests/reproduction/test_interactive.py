"""Live figures: what the page computes is what PyTorch computes, and mouse and keys change what is shown."""

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from ncode import MLP, NCODE, AugmentedNeuralODE, ClosedLoop, DataControlledODE, NeuralODE, OpenLoop, Solver
from ncode.reproduction.interactive import export
from ncode.reproduction.interactive.figure import LiveFigure, markup, script, style
from ncode.reproduction.models.memory import HebbianNCODE, Task, episodes

STEPS = 40


def models() -> dict:
    torch.manual_seed(0)
    solver = Solver("rk4", steps=STEPS)
    biases = MLP(2, (8,))
    weights = MLP(2, (8, 8), activation="softplus")
    closed = MLP(2, (8,), activation="relu")
    return {
        "node": NeuralODE(MLP(2, (8,)), solver=solver),
        "anode": AugmentedNeuralODE(MLP(3, (8,)), augment=1, project=False, solver=solver),
        "data": DataControlledODE(MLP(2, (8,), inputs=2), solver=solver),
        "open, biases": NCODE(
            biases, gamma=OpenLoop(2, biases.size("*.bias"), hidden=(8,)), steer="*.bias", solver=solver
        ),
        "open, everything": NCODE(weights, gamma=OpenLoop(2, weights.size(), hidden=()), solver=solver),
        "closed": NCODE(closed, g=ClosedLoop(2, closed.size("*.bias"), hidden=(8,)), steer="*.bias", solver=solver),
    }


@pytest.fixture
def show(chromium, tmp_path):
    """Open live figures as a file, with the network closed; what the page complained about is on ``page.wrong``."""
    context = chromium.new_context(viewport={"width": 900, "height": 700})

    def show(*figures):
        body = "".join(markup(figure.content()) for figure in figures)
        text = f"<!doctype html><meta charset=utf-8><style>{style()}</style>{body}<script>{script()}</script>"
        (tmp_path / "page.html").write_text(text + "<script>NcodeLive.start()</script>", encoding="utf-8")
        page = context.new_page()
        page.wrong = []
        context.route(
            "**/*",
            lambda route: (
                route.continue_()
                if route.request.url[:5] in ("file:", "data:")
                else (page.wrong.append(route.request.url), route.abort())
            ),
        )
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda message: message.type == "error" and page.wrong.append(message.text))
        page.goto((tmp_path / "page.html").as_uri())
        return page

    yield show
    context.close()


def plane(**changes) -> LiveFigure:
    shown = {
        key: {
            "label": key,
            "colour": "#0072B2",
            "system": export.flow(model, 1.0),
            "readout": {"weight": [1.0, -0.5, 0.2][: 3 if key == "anode" else 2], "bias": 0.1},
            "box": 2.5,
        }
        for key, model in models().items()
    }
    data = {
        "models": shown,
        "first": "open, biases",
        "start": [0.3, 0.0],
        "steps": STEPS,
        "classes": ["#56B4E9", "#B2450A"],
        "crowd": export.points(torch.randn(10, 2), [0, 1] * 5),
    }
    figure, _ = plt.subplots(figsize=(2, 2))
    return LiveFigure("fig-plane", "plane", "Choose a point.", "A plane.", {**data, **changes}, figure)


@pytest.mark.parametrize("kind", models())
def test_the_page_computes_what_pytorch_computes(show, kind, float64):
    model = models()[kind]
    x0 = torch.tensor([[0.3, -0.7], [1.2, 0.4]])
    page = show(plane())
    with torch.no_grad():
        # The same method on both sides: what is left is rounding.
        ends = _classical(model, x0)
    for start, end in zip(x0.tolist(), ends.tolist(), strict=True):
        found = page.evaluate(
            """([system, x0, steps]) => { const p = NcodeLive.path(system, x0, steps);
                                          return p.system.state(p.states[steps]); }""",
            [export.flow(model, 1.0), start, STEPS],
        )
        assert found == pytest.approx(end, abs=1e-9)
    assert page.wrong == []


def _classical(model, x0):
    """x(T) by the classical Runge-Kutta method, with the model's own right-hand side."""
    problem = model.problem(x0)
    z, h = problem.state, 1.0 / STEPS

    def f(t, z):
        return problem.f(torch.tensor(t), z)

    def plus(z, c, k):
        return tuple(a + c * b for a, b in zip(z, k, strict=True))

    for n in range(STEPS):
        t = n * h
        k1 = f(t, z)
        k2 = f(t + h / 2, plus(z, h / 2, k1))
        k3 = f(t + h / 2, plus(z, h / 2, k2))
        k4 = f(t + h, plus(z, h, k3))
        z = tuple(a + h / 6 * (p + 2 * q + 2 * r + s) for a, p, q, r, s in zip(z, k1, k2, k3, k4, strict=True))
    return z[0]


def test_keys_and_mouse_move_the_sample(show):
    page = show(plane())
    said = page.locator(".ncode-live-said")
    assert "x(0) = (0.30, 0.00)" in said.inner_text()
    page.locator("svg.ncode-live-panel").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert "x(0) = (0.35, 0.05)" in said.inner_text()
    box = page.locator(".ncode-live-panel .ground").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
    assert "x(0) = (0.00, 1.25)" in said.inner_text()
    before = page.locator(".path path").get_attribute("d")
    page.locator("input[type=range]").focus()
    page.keyboard.press("End")
    assert page.locator(".path path").get_attribute("d") != before
    page.get_by_label("node", exact=True).check()
    assert page.locator(".field path").count() > 200
    assert page.wrong == []


def test_without_scripts_the_still_picture_stands(chromium, tmp_path):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    (tmp_path / "still.html").write_text(f"<style>{style()}</style>{markup(plane().content())}", encoding="utf-8")
    page.goto((tmp_path / "still.html").as_uri())
    assert page.locator(".ncode-live-still img").is_visible()
    context.close()


def test_half_precision_survives_the_journey(show):
    values = torch.tensor([0.0, 1.0, -2.5, 6.1e-5, 5.9e-8, 65504.0, 0.333251953125])
    page = show(plane())
    assert page.evaluate("n => [...NcodeLive.numbers(n)]", export.numbers(values, half=True)) == values.half().tolist()
    assert page.evaluate("n => [...NcodeLive.numbers(n)]", export.numbers(values)) == values.tolist()


def test_the_decoder_decodes_as_pytorch_does(show):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 16), nn.Unflatten(1, (4, 4)))
    network(3 * torch.randn(50, 5) + 1)  # moves the statistics that evaluation normalises with
    network.eval()
    page = show(plane())
    folded = [(weight.half().float(), bias.half().float()) for weight, bias in export.folded(network)]
    for code in torch.randn(3, 5):
        found = page.evaluate("([d, c]) => [...NcodeLive.decoder(d)(c)]", [export.decoder(network), code.tolist()])
        (first, b), (second, c) = folded
        expected = torch.sigmoid(second @ torch.relu(first @ code + b) + c)
        assert found == pytest.approx(expected.tolist(), abs=1e-5)
        # What float16 changes of a picture is less than a grey level.
        assert found == pytest.approx(torch.sigmoid(network(code[None])).flatten().tolist(), abs=1 / 255)
    with pytest.raises(ValueError, match="network: has a Tanh"):
        export.decoder(nn.Sequential(nn.Linear(2, 2), nn.Tanh()))


def test_an_episode_ends_as_in_pytorch(show):
    torch.manual_seed(0)
    task = Task(bits=12, patterns=2, degraded=0.5)
    learner = HebbianNCODE(task, spread=0.3, method="dopri8", tolerance=1e-9).double()
    stimuli, target = episodes(task, 1, 0)
    data = {
        "bits": 12,
        "mu": export.numbers(learner.mu),
        "theta0": None,
        "leak": 0.0,
        "duration": task.duration,
        "steps": 20,
        "stimuli": stimuli[:, 0].tolist(),
        "target": target[0].tolist(),
    }
    figure, _ = plt.subplots(figsize=(2, 2))
    page = show(LiveFigure("fig-memory", "memory", "Play.", "An episode.", data, figure))
    last = page.evaluate("d => [...NcodeLive.episode(d, d.stimuli).at(-1).x]", data)
    with torch.no_grad():
        assert last == pytest.approx(learner(stimuli.double())[0].tolist(), abs=1e-5)
    page.locator("input[type=range]").focus()
    page.keyboard.press("End")
    assert "The query runs" in page.locator(".ncode-live-said").inner_text()
    assert page.wrong == []


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind: 'cube' is not one of"):
        LiveFigure("fig", "cube", "", "", {}, plt.figure())
