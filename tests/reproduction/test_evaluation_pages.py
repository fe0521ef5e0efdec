"""What the pages on generation, clustering and interpolation draw and tabulate, from runs whose numbers are known."""

from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ncode.reproduction.claims import claims
from ncode.reproduction.experiments import image_generation, latent_clustering, latent_interpolation
from ncode.reproduction.experiments.autoencoding import pictures
from ncode.reproduction.experiments.autoencoding.evaluation import Evaluation, Setup, every, nearest
from ncode.reproduction.experiments.image_generation import figures as generation_figures
from ncode.reproduction.experiments.image_generation import tables as generation_tables
from ncode.reproduction.experiments.image_generation import verdict as generation_verdict
from ncode.reproduction.experiments.latent_clustering import figures as clustering_figures
from ncode.reproduction.experiments.latent_clustering import planes as planes_module
from ncode.reproduction.experiments.latent_clustering import tables as clustering_tables
from ncode.reproduction.experiments.latent_clustering import verdict as clustering_verdict
from ncode.reproduction.experiments.latent_interpolation import figures as interpolation_figures
from ncode.reproduction.experiments.latent_interpolation import tables as interpolation_tables
from ncode.reproduction.experiments.latent_interpolation import verdict as interpolation_verdict
from ncode.reproduction.runs.experiment import Run
from ncode.reproduction.runs.recordings import RecordedRun
from ncode.training import History


def plain(rows):
    """Cells with plain spaces."""
    return [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row] for row in rows]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def runs(experiment, metrics, seeds=3, **config):
    """Runs by model, with a little noise from seed to seed, the same for all models."""
    return {
        model: [
            RecordedRun(
                f"{model}{seed}",
                "",
                experiment.Config(model, seed, **config),
                {name: value * (1 + 0.01 * seed) for name, value in of_model.items()},
                {},
                {},
            )
            for seed in range(seeds)
        ]
        for model, of_model in metrics.items()
    }


def generation(distances, components=(1, 10, 100)):
    """As many points as the most components: distances by model, the same for either fit."""
    metrics = {}
    for model, of_model in distances.items():
        metrics[model] = {
            "points": float(components[-1]),
            "floor": 1.0,
            "reconstructed": of_model[-1],
            "prior.distance": 50.0,
        }
        for fit in image_generation.FITS:
            for k, distance in zip(components, of_model, strict=True):
                density = f"{fit}.mixture-{k}"
                metrics[model] |= {f"{density}.{what}": 0.5 for what in ("copied", "likelihood")}
                metrics[model][f"{density}.distance"] = distance
            for variance, distance in ((0.01, of_model[-1]), (4.0, 80.0)):
                density = f"{fit}.kernel-{variance:g}"
                metrics[model] |= {f"{density}.distance": distance, f"{density}.copied": 0.9}
    found = runs(image_generation, metrics)
    for of_model in found.values():  # How many points there are does not depend on the seed.
        for run in of_model:
            run.metrics["points"] = float(components[-1])
            run.provenance["started"] = "2026-11-27T00:00:00+00:00"
    return found


MODELS = {"autoencoder": (30.0, 20.0, 5.0), "ncode": (28.0, 15.0, 6.0), "vae": (40.0, 35.0, 9.0)}


def test_samples_stand_in_a_grid_of_densities_and_models():
    images = np.zeros((1, 6, 1, 4, 4))
    blocks = {"autoencoder, 1": images, "VAE, 1": images, "VAE, 10": images, "VAE, its prior": images}
    figure = generation_figures.samples(blocks, most=3)
    axes = np.array(figure.axes).reshape(3, 2)
    assert [panel.get_title() for panel in axes[0]] == ["autoencoder", "VAE"]
    assert [panel.get_ylabel() for panel in axes[:, 0]] == ["1 component", "10 components", "its prior"]
    assert [[len(panel.images) for panel in row] for row in axes] == [[1, 1], [0, 1], [0, 1]]
    assert axes[0, 0].images[0].get_array().shape == (4, 12), "three images of four pixels"


def test_what_is_not_recorded_is_not_drawn():
    drawn = (generation_figures.samples, generation_figures.neighbours, interpolation_figures.squares)
    assert [draw({}) for draw in drawn] == [None] * 3
    assert generation_figures.components(None) is None


def test_a_line_is_seen_where_another_agrees_with_it():
    figure = generation_figures.components(generation(MODELS))
    lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    solid = [line for line in lines if line.get_linestyle() == "-"]
    assert len(lines) == 3 and len(solid) == 1
    others = [line for line in lines if line is not solid[0]]
    assert all(line.get_linewidth() < solid[0].get_linewidth() for line in others)
    assert all(line.get_zorder() > solid[0].get_zorder() for line in others)


def test_the_distances_of_table_2_stand_at_the_papers_points_a_component():
    named = {"this run": generation(MODELS)}
    rows = {row[0]: row[-1] for row in plain(generation_tables.distances(named))}
    assert generation_tables.headings(named)[-1] == "this run: fitted to training / test"
    assert rows["AutoN-CODE, 100 components"] == "28.28 ± 0.28 / 28.28 ± 0.28", "a hundred points each: one component"
    assert rows["AutoN-CODE, 1000 components"].startswith("15.15")
    assert rows["VAE"].startswith("50.5") and "/" not in rows["VAE"], "from its prior"
    assert len(generation_tables.parts(named)) == 3


def test_the_context_of_the_order_follows_the_distances():
    checks = generation_verdict.n17_checks({"x": generation(MODELS)})
    assert checks["x: AutoN-CODE below the autoencoder, 10 points a component, fitted to test"] is True
    swapped = {**MODELS, "ncode": MODELS["vae"]}
    checks = generation_verdict.n17_checks({"x": generation(swapped)})
    assert checks["x: AutoN-CODE below the autoencoder, 10 points a component, fitted to test"] is False
    assert generation_verdict.n19_checks({"x": generation(MODELS)}) == {}, "no model of double size"
    kernels = generation_verdict.n20_checks({"x": generation(MODELS)})
    assert kernels["x: AutoN-CODE's distance rises from each variance to the next"] is True
    assert kernels["x: at the smallest variance AutoN-CODE below: autoencoder"] is False
    (copies,) = (held for text, held in kernels.items() if "at σ = 2 its samples are no copies" in text)
    assert copies is False


def test_the_papers_components_have_no_mixture_of_one_and_answer_every_question():
    found = {"x": generation({**MODELS, "double": MODELS["vae"]}, (10, 100, 1000))}
    falls = generation_verdict.n18_checks(found)
    assert falls["x: fitted to test, the distance falls from 10 components to ten points each"] is True
    double = generation_verdict.n19_checks(found)
    assert list(double) == [
        f"x: the double-size autoencoder above the autoencoder, 10 components, fitted to {fit}"
        for fit in image_generation.FITS
    ]
    # The VAE is sampled from its prior, whose distance is the same at either number of components.
    order = {one.part: one.estimate for one in generation_verdict.n17(found)}
    assert order == pytest.approx({"a": 28.0 - 30.0, "b": 15.0 - 20.0, "c": 30.0 - 50.0, "d": 20.0 - 50.0}, abs=1.0)
    assert [one.part for one in generation_verdict.n18(found)] == [*"abc"]
    levels = {question.part: question for question in claims.get("N18").questions}
    assert (levels["b"].above, levels["c"].below) == (generation_verdict.COPIES,) * 2
    assert [one.part for one in generation_verdict.n19(found)] == [*"ab"]
    told = generation_tables.doubled(found)
    assert "At 100, its fewest" in told and "minus AutoN-CODE's" in told and "not measured" not in told
    assert generation_verdict.n17_checks(found) and generation_verdict.n18_note(found)
    # One component is one, and said so.
    one = generation_verdict.n18_checks({"x": generation(MODELS)})
    assert "x: fitted to test, the distance falls from 1 component to ten points each" in one


def test_an_evaluation_says_which_recording_is_nearest_to_the_paper():
    one = runs(image_generation, {"ncode": {}, "double": {}}, seeds=1, dataset="mnist")
    three = runs(image_generation, {"ncode": {}}, seeds=3, dataset="mnist")
    live = runs(image_generation, {"ncode": {}}, seeds=2)
    found = Evaluation(Setup(2, {}, ""), live, {"live": live, "several": three, "single": one}, (), ())
    assert found.recording("mnist") is three, "one seed decides nothing"
    assert found.recording("cifar10") is None
    assert found.recorded_as("mnist") == "recorded, MNIST, 5 epochs" and found.recorded_as("cifar10") == "recorded"
    assert list(found.recorded) == ["several", "single"]
    assert found.having("double") == {}
    assert [run.id for run in every(found.compared)] == [f"ncode{seed}" for seed in (0, 1, 0, 1, 2)]


def test_the_setting_that_is_shown_is_the_one_that_decides():
    # Nearness, then seeds, then what came first: a later recording with fewer seeds, or narrower, does not push in.
    printed = {"dataset": "mnist", "kind": "printed", "epochs": 50}
    ten = runs(latent_clustering, {"ncode": {}}, seeds=10, **printed)
    dense = runs(latent_clustering, {"ncode": {}, "pixels": {}}, seeds=3, **printed, latent=5, entries=5)
    larger = runs(latent_clustering, {"ncode": {}}, seeds=12, dataset="mnist")
    sets = {"larger": larger, "ten": ten, "dense": dense}
    assert nearest(sets, "mnist") is ten and nearest(sets, "mnist", "pixels") is dense
    quarter = runs(latent_clustering, {"ncode": {}}, seeds=3, dataset="cifar10", kind="convolutional", width=0.25)
    eighth = runs(latent_clustering, {"ncode": {}}, seeds=3, dataset="cifar10", kind="printed", width=0.125)
    assert nearest(sets | {"quarter": quarter, "eighth": eighth}, "cifar10") is quarter
    one = runs(latent_clustering, {"ncode": {}}, seeds=1, **printed)
    assert nearest({"one": one}, "mnist") is one and nearest({"one": one, "larger": larger}, "mnist") is larger
    assert nearest({"one": one}, "cifar10") is None and nearest({"one": one}, "mnist", "vae") is None


ACCURACIES = {
    "pixels": {"kmeans": 0.5, "spectral": 0.6, "tsne_mixture": 0.7, "samples": 100.0},
    "autoencoder": {"kmeans": 0.5, "mixture": 0.6, "tsne_mixture": 0.8},
    "ncode": {"kmeans": 0.5, "mixture": 0.7, "tsne_mixture": 0.75, "samples": 100.0},
}


def test_clustering_stands_beside_the_papers_rows():
    made = runs(latent_clustering, ACCURACIES, dataset="mnist")
    rows = {row[0]: row for row in plain(clustering_tables.accuracies({"mine": made}))}
    assert clustering_tables.headings({"mine": made})[-1] == "mine"
    assert rows["AutoN-CODE with mixture"][-1] == "70.7 ± 0.7"
    assert rows["sparse autoencoder"][-1] == "not run" and rows["IIC"][-1] == "quoted"
    assert rows["pixels with t-SNE and mixture"][1:3] == ["–", "–"]
    checks = clustering_verdict.n22_checks({"x": made})
    assert checks["x: AutoN-CODE with a mixture above the autoencoder"] is True
    assert checks["x: with t-SNE it is above t-SNE of the plain autoencoder's"] is False
    assert checks["x: with t-SNE it reaches 97.3 %"] is False


def test_ours_are_the_accuracies_nearest_to_the_paper():
    live = runs(latent_clustering, ACCURACIES)
    made = runs(latent_clustering, ACCURACIES, dataset="mnist", epochs=50)
    found = Evaluation(Setup(2, {}, ""), live, {"live": live, "recorded": made}, (), ())
    rows, setting = clustering_tables.nearest(found)
    assert plain([rows["AutoN-CODE with mixture"].values()]) == [["70.7 ± 0.7"]]
    assert rows["sparse autoencoder"] == {}
    assert "MNIST, 50 epochs" in setting and "digits" not in setting
    assert "over that of pixels" in clustering_tables.margins(found)


def test_interpolation_compares_with_the_autoencoder_and_the_cross_fade():
    names = dict.fromkeys(interpolation_tables.MEASURES, 1.5)
    made = runs(
        latent_interpolation,
        {"ncode": names, "autoencoder": {**names, "excess": 3.0}, "pixels": {**names, "half_way": 1.0}},
    )
    checks = interpolation_verdict.n23_checks({"x": made})
    shorter, *_ = (held for text, held in checks.items() if "are shorter" in text)
    steady, *_ = (held for text, held in checks.items() if "no jump" in text)
    real, *_ = (held for text, held in checks.items() if "cross-fade" in text)
    assert (shorter, steady, real) == (True, True, False)
    assert "1.52 against 3.03" in interpolation_verdict.n23_note({"x": made})
    assert interpolation_tables.smoothness({"x": made})[2][:2] == ["x", "cross-fade of pixels"]


def test_the_cross_fade_is_called_more_real_only_where_the_runs_show_it():
    names = dict.fromkeys(interpolation_tables.MEASURES, 1.5)

    def of(half_way: float):
        return runs(
            latent_interpolation, {"ncode": names, "autoencoder": names, "pixels": {**names, "half_way": half_way}}
        )

    told = interpolation_tables.fade({"blurred": of(1.0), "sharp": of(2.0), "alike": of(1.5)}).splitlines()
    assert told[0].startswith("- blurred: the cross-fade's path length is 1.52 times a straight path's")
    assert "So the cross-fade's images half-way are nearer to real ones" in told[0]
    assert "So AutoN-CODE's images half-way are nearer to real ones" in told[1]
    assert "So neither is shown" in told[2]


def test_blocks_of_lines_are_as_high_as_their_images():
    block = np.zeros((2, 10, 1, 4, 4))
    figure = interpolation_figures.lines({"a": block, "b": block})
    box = SimpleNamespace(width=figure.get_figwidth(), height=figure.get_figheight())
    assert box.height < 0.2 * box.width, "two rows of ten images: a fifth of a block's width, and a title"


def test_planes_come_back_from_a_picture_and_are_this_executions_where_none_is_kept(monkeypatch):
    rng = np.random.default_rng(0)
    planes = [
        planes_module.Plane(rng.normal(size=(300, 2)), rng.integers(0, 10, 300), share) for share in (0.5, 0.7, 0.6)
    ]
    kept = {plane.accuracy: {"tsne": plane.points, "clusters": plane.components} for plane in planes}
    monkeypatch.setattr(Run, "array", lambda run, name: kept[run.metrics["tsne_mixture"]][name])
    live = {
        model: [
            Run(
                "",
                latent_clustering.experiment,
                latent_clustering.Config(model, 0),
                {"tsne_mixture": plane.accuracy},
                History(),
                {},
                Path(),
            )
        ]
        for model, plane in zip(planes_module.MODELS, planes, strict=True)
    }
    made, whose = pictures.find_planes("none", live)
    assert "this execution" in whose and [*made] == [*planes_module.MODELS]
    for plane, again, grid in zip(planes, made.values(), planes_module.drawn(planes), strict=True):
        np.testing.assert_array_equal(again.points, plane.points)
        found = planes_module.read(grid[0, 0], plane.accuracy)
        low, size = plane.points.min(0), np.ptp(plane.points, axis=0).max()
        cells = ((plane.points - low) / size * (planes_module.SIDE - 1)).round()
        # The last image of a cell is the one that shows.
        expected = {tuple(cell): which for cell, which in zip(cells, plane.components, strict=True)}
        assert {tuple(at): which for at, which in zip(found.points, found.components, strict=True)} == expected
    titles = [panel.get_title() for panel in clustering_figures.tsne(made).axes]
    assert plain([titles]) == [["AutoN-CODE: 50 %", "autoencoder: 70 %", "pixels: 60 %"]]
