"""Evaluations of finished autoencoders: what they find, what they give, and that limits come out as they must."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from ncode.reproduction import profiles
from ncode.reproduction.experiments import (
    autoencoding,
    image_generation,
    latent_clustering,
    latent_interpolation,
    orbits,
)
from ncode.reproduction.experiments.autoencoding import analysis as autoencoding_analysis
from ncode.reproduction.experiments.autoencoding import evaluation, latents, pictures
from ncode.reproduction.experiments.autoencoding import figures as autoencoding_figures
from ncode.reproduction.experiments.image_generation import analysis as generation_analysis
from ncode.reproduction.experiments.image_generation.train import SHOWN as SAMPLES
from ncode.reproduction.experiments.latent_clustering import analysis as clustering_analysis
from ncode.reproduction.experiments.latent_clustering import train as clustering
from ncode.reproduction.experiments.latent_clustering.analysis import CHOICES
from ncode.reproduction.experiments.latent_clustering.train import started
from ncode.reproduction.experiments.latent_interpolation import analysis as interpolation_analysis
from ncode.reproduction.experiments.latent_interpolation.train import SHOWN, STEPS, plane, square
from ncode.reproduction.metrics import comparison, features
from ncode.reproduction.plotting import style
from ncode.reproduction.runs import recordings

SMALL = {"images": 1500, "width": 0.1, "latent": 4, "epochs": 2, "batch": 64, "looks": 1, "judge_epochs": 1}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """One folder of runs for all these tests: they share their autoencoders, as notebooks do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCODE_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("TQDM_DISABLE", "1")
        yield


@pytest.fixture(scope="module")
def trained():
    return latents.Trained(latents.Config("ncode", 0, **SMALL))


def test_a_finished_autoencoder_is_found_by_whoever_evaluates_it(trained):
    settings = {name: value for name, value in SMALL.items() if name != "judge_epochs"}
    own = autoencoding.Config("ncode", 0, **settings)
    assert autoencoding.experiment.run(own).id == trained.run.id
    other = latent_clustering.Config("ncode", 0, **SMALL, starts=1)
    assert autoencoding.experiment.identity(latents.autoencoder_config(other)) == trained.run.id


def test_embeddings_have_unit_scale_and_decode_to_reconstructions(trained):
    x = trained.ready.test[0][:20]
    seen = trained.embed(trained.ready.train[0])
    assert seen.dtype == np.float64
    assert seen.std(0).mean() == pytest.approx(1, rel=0.01)  # NumPy divides by n, PyTorch by n - 1.
    with torch.no_grad():
        expected = trained.model(x)
    torch.testing.assert_close(trained.images(trained.embed(x)), expected, rtol=1e-4, atol=1e-5)


def test_digits_are_judged_by_their_classifier_and_colours_by_efficientnet():
    assert latents.judge(latents.Config("ncode", 0, **SMALL)).name == "digit classifier"
    pytest.importorskip("efficientnet_lite_pytorch")
    assert latents.judge(latents.Config("ncode", 0, dataset="cifar10")).name == "EfficientNet-Lite0"


def test_an_fid_is_asked_for_by_name_and_projects_nothing(monkeypatch):
    wide = features.Features("InceptionV3", torch.nn.Flatten(), lambda network, x: network(x), fid=True)
    monkeypatch.setattr(features, "inception_v3", lambda: wide)
    images = torch.rand(500, 3, 8, 8)
    labels = torch.zeros(500, dtype=torch.long)

    class Ready:
        train, test = (images[:250], labels[:250]), (images[250:], labels[250:])

    monkeypatch.setattr(autoencoding, "prepare", lambda *_: Ready)
    for cached in (latents._imagenet, latents._real_features):
        cached.cache_clear()
    config = latents.Config("ncode", 0, dataset="cifar10", inception=True)
    assert latents.judge(config) is wide
    reference = latents.reference(config, 250)
    assert reference.project(images[:5].flatten(1).numpy()).shape == (5, 192)
    with pytest.raises(ValueError, match="derivative"):
        latent_interpolation.experiment.train(
            latent_interpolation.Config("ncode", 0, dataset="cifar10", inception=True)
        )
    for cached in (latents._imagenet, latents._real_features):
        cached.cache_clear()


def test_a_judge_that_cannot_be_had_is_said(monkeypatch):
    def missing():
        raise features.FeatureError("no weights here")

    monkeypatch.setattr(features, "inception_v3", missing)
    plan = evaluation.setup("smoke", {"inception": True, "pairs": 7})
    assert plan.settings["inception"] is False
    assert plan.missing == "EfficientNet-Lite0 judges. no weights here"


@pytest.fixture(scope="module")
def generated():
    config = image_generation.Config("autoencoder", 0, **SMALL, components=(1, 10, 5000), variances=(1e-4, 4.0))
    return image_generation.experiment.run(config)


def test_generation_scores_every_density(generated):
    found = generated.metrics
    assert found["points"] == 1000
    assert found["floor"] > 0
    for fit in image_generation.FITS:
        # More components than points are as many as points.
        assert generation_analysis.sizes([generated], "mixture") == [1, 10, 1000]
        for density in ("mixture-1", "mixture-10", "mixture-1000", "kernel-0.0001", "kernel-4"):
            values = {what: found[f"{fit}.{density}.{what}"] for what in ("distance", "likelihood", "copied")}
            assert np.isfinite(list(values.values())).all()
            assert generated.array(f"{fit}.{density}.samples").shape == (SAMPLES, 1, 28, 28)


def test_a_component_for_every_point_is_reconstruction_and_copies(generated):
    found = generated.metrics
    assert found["test.mixture-1000.copied"] > 0.99
    # As many draws with replacement: every moment has the error of 1000 samples.
    assert found["test.mixture-1000.distance"] == pytest.approx(found["reconstructed"], rel=0.2)
    assert abs(found["test.mixture-1.copied"] - 0.5) < 0.1
    assert found["test.mixture-1000.nearest"] < found["test.mixture-1000.unseen"]
    samples, nearest = (generated.array(f"test.mixture-1000.{name}") for name in ("samples", "nearest"))
    np.testing.assert_allclose(samples, nearest, atol=0.05)


def test_analysis_picks_mixtures_by_points_a_component_and_by_likelihood(generated):
    assert generation_analysis.mixture_of([generated], 100) == "mixture-10"
    assert generation_analysis.mixture_of([generated], 1) == "mixture-1000"
    x, values = generation_analysis.curve([generated], "train", "mixture", "likelihood")
    assert values.shape == (1, 3)
    both = generation_analysis.of_density([generated], "both", "mixture-10", "copied")
    each = [generated.metrics[f"{fit}.mixture-10.copied"] for fit in image_generation.FITS]
    assert both.tolist() == pytest.approx([np.mean(each)])
    assert generation_analysis.likeliest([generated]) == image_generation.name("mixture", x[values[0].argmax()])


def test_a_variational_autoencoder_samples_from_its_prior():
    config = image_generation.Config("vae", 0, **SMALL, samples=500, components=(1,), variances=())
    record = image_generation.experiment.run(config)
    assert record.metrics["prior.distance"] > record.metrics["floor"]


@pytest.mark.parametrize("model", ["pixels", "pca", "ncode"])
def test_clustering_gives_an_accuracy_for_every_method(model):
    config = latent_clustering.Config(model, 0, **SMALL, points=400, starts=3, iterations=250)
    result = latent_clustering.experiment.train(config)
    own = {"pixels": "spectral"}.get(model, "mixture")
    named = {name for name in result.metrics if not name.endswith(("_mean", "_spread", "_by_labels", "_correlation"))}
    assert named == {"samples", "kmeans", "tsne_mixture", own}
    assert all(0.15 < result.metrics[name] <= 1 for name in ("kmeans", "tsne_mixture", own))  # Chance is 0.1.
    assert result.arrays["tsne"].shape == (400, 2)


def test_as_many_principal_components_as_a_code_has_numbers():
    assert latent_clustering.embedded(latent_clustering.Config("pca", 0, **SMALL))[0].shape == (1000, 4)
    assert latents.size(latents.Config("ncode", 0)) == 25


def test_pairs_are_of_different_classes_and_the_same_for_all():
    y = torch.arange(10).repeat(30)
    first, second = latent_interpolation.pairs(y)
    assert sorted(first.tolist()) == list(range(300))
    assert (y[first] != y[second]).all()
    again = latent_interpolation.pairs(y)
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])


def test_a_plane_has_its_three_anchors_where_the_paper_has_them():
    a, b, c = (torch.randn(1, 3) for _ in range(3))
    points = plane(a, b, c, side=5)
    torch.testing.assert_close(points[0, 0], a)
    torch.testing.assert_close(points[0, -1], b)
    torch.testing.assert_close(points[-1, 0], c)
    torch.testing.assert_close(points[2, 2], (b + c) / 2)


def test_a_square_has_its_corners_and_is_linear_along_its_edges():
    corners = list(torch.randn(4, 3, 5, dtype=torch.float64))
    points = square(corners, side=5)
    assert points.shape == (5, 5, 3, 5)
    for point, corner in zip((points[0, 0], points[0, -1], points[-1, 0], points[-1, -1]), corners, strict=True):
        torch.testing.assert_close(point, corner)
    torch.testing.assert_close(points[0, 2], (corners[0] + corners[1]) / 2)
    torch.testing.assert_close(points[2, 2], sum(corners) / 4)


@pytest.fixture(scope="module")
def lines():
    config = latent_interpolation.Config("pixels", 0, **SMALL, pairs=20, times=10)
    return {
        model: latent_interpolation.experiment.run(dataclasses.replace(config, model=model)).metrics
        for model in ("pixels", "ncode", "control")
    }


def test_a_jump_on_every_twentieth_line_shows():
    start, end = torch.zeros(40, 1), torch.ones(40, 1)
    pixels = latent_interpolation.Line(latent_interpolation.Config("pixels", 0))
    even = latent_interpolation.jump(lambda x: x, pixels, start, end, steps=20)
    assert even == pytest.approx(1, abs=1e-4)
    # Half of the lines move within one of twenty parts.
    start[::2], end[::2] = 10, 11

    def network(x):
        return torch.where(x >= 10, (x > 10.51).float(), x)

    assert latent_interpolation.jump(network, pixels, start, end, steps=20) == pytest.approx(20, rel=1e-3)


def test_interpolation_measures_smoothness_and_reality(lines):
    for found in lines.values():
        assert found["excess"] >= 1
        assert found["peak"] >= 1 and found["square_peak"] >= 1 and found["jump"] >= 1
        assert found["half_way"] > 0
    # A cross-fade starts at the test images themselves; distances of equal sets are rounding.
    assert lines["pixels"]["ends"] < 1e-6
    assert lines["pixels"]["half_way"] > lines["pixels"]["floor"]


def test_control_and_state_lines_share_their_ends(lines):
    assert lines["control"]["ends"] == pytest.approx(lines["ncode"]["ends"], rel=1e-4)
    assert lines["control"]["length"] != pytest.approx(lines["ncode"]["length"], rel=1e-3)


@pytest.mark.parametrize("task", [image_generation, latent_clustering, latent_interpolation, orbits])
def test_recordings_evaluate_whole_seeds_first(task):
    for configs in (plan.configs() for plan in task.experiment.planned().values()):
        # What a plan asks first comes first; within that and behind it, seed by seed.
        seeds = [config.seed for config in configs]
        assert sum(a > b for a, b in itertools.pairwise(seeds)) <= 1
        assert {config.model for config in configs} <= set(task.MODELS)
        found = {latents.autoencoder_config(config) for config in configs if config.model in autoencoding.MODELS}
        every = [config for plan in autoencoding.experiment.planned().values() for config in plan.configs()]
        assert found <= set(every), "an evaluation of an autoencoder that is not recorded would train it"


def test_this_run_and_recordings_stand_side_by_side(generated, monkeypatch, tmp_path):
    live = {"autoencoder": [generated]}
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path)
    assert list(evaluation.sets(live, ["one"])) == ["this run, 5,000 digits, 2 epochs"]
    recordings.save("one", [generated])
    found = evaluation.sets(live, ["one", "two"])
    assert list(found) == ["this run, 5,000 digits, 2 epochs", "recorded, 5,000 digits, 2 epochs"]
    recorded = found["recorded, 5,000 digits, 2 epochs"]["autoencoder"]
    assert recorded[0].metrics == generated.metrics
    assert list(evaluation.sets(live, ["one"], needed=["ncode"])) == ["this run, 5,000 digits, 2 epochs"]
    assert comparison.several(found) == {}, "one seed decides nothing"
    assert evaluation.dataset(live) == "digits"
    assert evaluation.recorded_in_words(["one", "two"]) == recordings.describe("one")


def test_an_evaluation_names_the_runs_behind_it(generated):
    live = {"autoencoder": [generated]}
    base = latents.autoencoder_config(generated.config)
    behind = evaluation.autoencoders(live)
    assert [run.id for run in behind] == [autoencoding.experiment.identity(base)]
    judge = evaluation.judge(live)
    assert len(judge) == 1 and judge[0].config.epochs == SMALL["judge_epochs"]


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_of_images_are_one_picture(channels):
    images = torch.zeros(2, 3, channels, 4, 5)
    images[1, 2, :, 3, 4] = 1
    _, axes = style.panels(1)
    style.pictures(axes[0, 0], images)
    shown = axes[0, 0].images[0].get_array()
    assert shown.shape == ((8, 15) if channels == 1 else (8, 15, 3))
    assert np.argwhere(np.asarray(shown).reshape(8, 15, -1)[..., 0] == 1).tolist() == [[7, 14]]


def test_an_evaluating_page_asks_for_the_autoencoders_of_their_own_page():
    plan = evaluation.setup("smoke", {"pairs": 7})
    again = evaluation.setup("smoke", {})
    assert plan.settings == again.settings | {"pairs": 7}
    assert plan.seeds > 0 and plan.missing == ""
    config = latents.autoencoder_config(latent_interpolation.Config("ncode", 0, **plan.settings))
    assert config.normalisation in autoencoding.COMPONENT_WISE
    scales = profiles.load("autoencoding", "smoke").options["scales"]
    best = autoencoding_analysis.chosen(config, scales)
    assert best == config, "the choice is stable, and made on runs of another seed"


def test_what_mixtures_do_is_asked_over_seeds():
    def run(seed, shift):
        # 100 points; ten a component is better by 5 on test and by 1 - shift on training embeddings, and unseen
        # embeddings are less likely by 1 + shift.
        metrics = {"points": 100.0}
        for fit, ten in (("test", 5.0), ("train", 9.0 + shift)):
            for k, distance, copied in ((1, 10.0, 0.5), (10, ten, 0.6 + shift / 10), (100, ten, 1.0)):
                metrics |= {f"{fit}.mixture-{k}.distance": distance, f"{fit}.mixture-{k}.copied": copied}
                metrics[f"{fit}.mixture-{k}.likelihood"] = -20.0 - (1 + shift) * (k == 10)
        return recordings.RecordedRun("", "", image_generation.Config("ncode", seed), metrics, {}, {})

    alike, apart = [run(0, 0.0), run(1, 0.1)], [run(0, 0.0), run(1, 4.0)]
    assert generation_analysis.falls(alike, "test") is True
    assert generation_analysis.falls(apart, "train") is None, "by 1 on one seed, by -3 on the other"
    assert generation_analysis.overfits(alike, 10) is True
    assert generation_analysis.overfits(apart, 10) is None
    assert generation_analysis.overfits(alike, 1) is False, "a hundred components are better than ten"
    assert generation_analysis.overfits(alike[:1], 10) is None, "one seed decides nothing"
    # Mean 0.605, deviation 0.01/√2, t(0.975, 1) = 12.706.
    assert generation_analysis.copies(alike, "mixture-10") == pytest.approx((0.605 - 0.0635, 0.605 + 0.0635), abs=1e-3)


@pytest.fixture
def empty_results(monkeypatch, tmp_path):
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path)
    return tmp_path


def test_pictures_are_of_the_finished_runs_behind_a_recording(empty_results):
    models = (*interpolation_analysis.LINES, "vae")
    base = latent_interpolation.Config("pixels", 0, **SMALL, pairs=20, times=10)
    of = {model: latent_interpolation.experiment.run(dataclasses.replace(base, model=model)) for model in models}
    recordings.save("latent_interpolation_small", list(of.values()))
    assert pictures.find("latent_interpolation_small_lines") == {}
    assert "no picture yet" in pictures.introduced("latent_interpolation_small_lines")
    pictures.main(["latent_interpolation_small"])
    found = pictures.find("latent_interpolation_small_lines")
    assert list(found) == ["AutoN-CODE", "autoencoder", "AutoN-CODE, control", "cross-fade of pixels"]
    for images, model in zip(found.values(), interpolation_analysis.LINES, strict=True):
        kept = of[model].array("lines")[: pictures.LINES]
        np.testing.assert_allclose(images, kept, atol=0.5 / 255 + 1e-6)
    squares = pictures.find("latent_interpolation_small_squares")
    np.testing.assert_allclose(squares["AutoN-CODE"], of["ncode"].array("anchors"), atol=0.5 / 255 + 1e-6)
    assert "5,000 digits, 2 epochs, seed 0" in pictures.introduced("latent_interpolation_small_lines")
    assert pictures.described("latent_interpolation_small_lines") == "recorded, 5,000 digits, 2 epochs"
    (empty_results / "latent_interpolation_small.json").write_text(
        (empty_results / "latent_interpolation_small.json").read_text().replace(of["ncode"].id, "elsewhere")
    )
    with pytest.raises(FileNotFoundError):
        pictures.main(["latent_interpolation_small"])


def test_printed_networks_are_called_so_in_what_pictures_are_of():
    printed, older = "autoencoding_mnist_printed_orbit", "image_generation_mnist_samples"
    assert pictures.described(printed) == "recorded, MNIST, as printed, 50 epochs"
    assert pictures.described("none") == "recorded"
    assert pictures.introduced(older, printed).endswith(
        "MNIST, 50 epochs, seed 0; MNIST, as printed, 50 epochs, seed 0."
    )
    assert "MNIST, as printed, 50 epochs" in autoencoding_figures.recorded_orbit(printed, "mnist", "A.4")["caption"]


def test_kept_lines_and_squares_join_the_images_that_were_measured():
    config = latent_interpolation.Config("pixels", 0, **SMALL, pairs=20, times=10)
    kept = latent_interpolation.experiment.run(config)
    ready = autoencoding.prepare(config.dataset, config.variant, config.images)
    first, second = latent_interpolation.pairs(ready.test[1])
    ends = [ready.test[0][rows[:SHOWN]].cpu().numpy() for rows in (first, second)]
    between = kept.array("lines")
    assert between.shape[:2] == (SHOWN, STEPS)
    np.testing.assert_allclose(between[:, 0], ends[0])
    np.testing.assert_allclose(between[:, -1], ends[1])
    np.testing.assert_allclose(between[:, 5], (ends[0] + ends[1]) / 2, atol=1e-6)
    square = kept.array("square")
    for corner, image in zip(
        (square[0, 0], square[0, -1], square[-1, 0], square[-1, -1]), (*ends[0][:2], *ends[1][:2]), strict=True
    ):
        np.testing.assert_allclose(corner, image)


def test_samples_and_neighbours_are_named_by_what_they_are_of(empty_results):
    def run(model):
        config = image_generation.Config(model, 0, **SMALL, components=(1, 10, 100, 5000), variances=(1.0,))
        return image_generation.experiment.run(config)

    of = {model: run(model) for model in generation_analysis.SAMPLED}
    rows = generation_analysis.samples(of)
    assert len(rows) == 13
    np.testing.assert_array_equal(rows["AutoN-CODE, 100"][0], of["ncode"].array("test.mixture-100.samples"))
    np.testing.assert_array_equal(rows["VAE, its prior"][0], of["vae"].array("prior.samples"))
    near = generation_analysis.nearest(of["ncode"], ["mixture-10", "kernel-1"])
    assert list(near) == [
        "components: 10, samples",
        "components: 10, nearest",
        "variance: 1, samples",
        "variance: 1, nearest",
    ]
    np.testing.assert_array_equal(near["variance: 1, nearest"][0], of["ncode"].array("test.kernel-1.nearest"))
    recordings.save("image_generation_small", list(of.values()))
    pictures.main(["image_generation_small"])
    kept = pictures.find("image_generation_small_samples")
    np.testing.assert_allclose(
        kept["AutoN-CODE, 100"], rows["AutoN-CODE, 100"][:, : pictures.COLUMNS], atol=0.5 / 255 + 1e-6
    )
    assert len(pictures.find("image_generation_small_nearest")) == 6
    with pytest.raises(SystemExit):
        pictures.main(["orbits_small"])


def test_what_a_start_decides_is_told_of_every_model_that_kept_its_starts():
    metrics = {"mixture": 0.7, "mixture_mean": 0.6, "mixture_by_labels": 0.8, "mixture_spread": 0.05}
    config = latent_clustering.Config("ncode", 0, "mnist", kind="printed", epochs=50)
    made = {"ncode": [recordings.RecordedRun("a", "latent_clustering", config, metrics, {}, {})]}
    old = {"ncode": [recordings.RecordedRun("b", "latent_clustering", config, {"mixture": 0.5}, {}, {})]}
    (row,) = clustering_analysis.start_rows({"new": made, "old": old})
    assert row == ["new", "AutoN-CODE", "mixture", "1", "70.0", "60.0", "80.0", "5.0", "–"]
    assert evaluation.described("recorded", made) == "recorded, MNIST, as printed, 50 epochs"


def test_the_likeliest_start_and_the_best_by_labels_are_told_apart():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 300)
    z = rng.normal(size=(300, 2)) + 1.5 * labels[:, None]
    found, clusters, starts = started("m", latent_clustering.Config("ncode", 0, starts=6), z, labels)
    likelihoods, accuracies = starts.numpy().T
    assert found["m"] == accuracies[likelihoods.argmax()]
    assert found["m_by_labels"] == accuracies.max() >= found["m_mean"]
    assert len(starts) == 6
    assert clusters.shape == labels.shape


def test_images_that_all_have_one_embedding_are_one_cluster(monkeypatch):
    labels = np.repeat(np.arange(4), [10, 20, 30, 40])
    monkeypatch.setattr(clustering, "embedded", lambda config: (np.full((100, 3), 0.7), labels, ""))
    metrics = clustering.train(latent_clustering.Config("ncode", 0)).metrics
    accuracies = {name: value for name, value in metrics.items() if name != "samples" and not name.endswith("spread")}
    assert set(accuracies.values()) == {0.4}
    assert {"kmeans", *(f"{name}{end}" for name in clustering.STARTED for end in ("", *CHOICES))} <= set(accuracies)
    assert metrics["mixture_spread"] == 0.0
