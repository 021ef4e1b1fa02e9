"""The DCGAN on folders without classes, on every kind of features, under every normalisation."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dgm_jax import data
from dgm_jax.core import ConfigError, DataError, tree_sha256
from dgm_jax.evaluation import inception
from dgm_jax.evaluation.inception_layers import LAYERS
from dgm_jax.experiments.gan_images import EXPERIMENT, Config, extractors
from dgm_jax.experiments.gan_images.task import load, needs, summarize
from dgm_jax.run import Inputs, catalogue, main
from dgm_jax.run.cells import validate

SIZE = 8
SMALL = (
    "--num_steps 2 --log_every 2 --num_seeds 2 --batch_size 4 --features 4 --latent_size 3"
    " --num_eval 12 --progress quiet --devices jit"
).split()


def write_images(folder, num, seed=0):
    """`num` grey noise images in one folder."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (num, SIZE, SIZE), np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index:03d}.png")


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """A folder of images without classes; a fifth of them is held out for the test."""
    folder = tmp_path_factory.mktemp("images") / "flat"
    write_images(folder, 64)
    return f"folder:{folder}"


@pytest.fixture(scope="module")
def labelled_run(tmp_path_factory):
    """A run of the classifier on other images of the same shape, in three classes."""
    root = tmp_path_factory.mktemp("classes")
    for kind in range(3):
        write_images(root / "images" / f"class_{kind}", 20, seed=kind + 1)
    words = f"--data folder:{root / 'images'} --num_steps 2 --log_every 2 --batch_size 8"
    experiment = catalogue.load_experiment("feature_classifier")
    done = main(experiment, [*words.split(), "--progress", "quiet", "--out", str(root / "run")])
    assert done == 0
    return root / "run"


def view(**settings):
    return EXPERIMENT.data_view(Config(**settings))


def test_a_folder_without_classes_and_no_other_features_says_every_way(unlabelled):
    with pytest.raises(ConfigError) as error:
        needs(view(data=unlabelled))
    for words in (
        "has no classes",
        "--feature_extractor pixels",
        "--feature_extractor inception with --inception_weights FILE",
        "--classifier FOLDER",
        f"images of shape ({SIZE}, {SIZE}, 1)",
    ):
        assert words in str(error.value)


def test_a_folder_without_classes_is_measured_on_pixels(unlabelled, tmp_path):
    words = ["--data", unlabelled, "--feature_extractor", "pixels", "--out", str(tmp_path / "run")]
    norms = ["--generator_normalization", "group_2", "--discriminator_normalization", "layer"]
    assert main(EXPERIMENT, [*words, *norms, *SMALL]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))
    assert summary["dataset"]["feature_extractor"] == {"features": "64 pixels in [-1, 1]"}
    for name in ("frechet", "kernel", "sliced_wasserstein", "floor_sliced_wasserstein"):
        values = summary["metrics"][name]["per_seed"]
        assert len(values) == 2 and np.isfinite(values).all()


def test_a_folder_without_classes_is_measured_by_a_classifier_of_other_images(
    unlabelled, labelled_run
):
    settings = view(data=unlabelled, classifier=str(labelled_run), num_eval=12)
    (need,) = needs(settings)
    assert (need.settings, need.folder) == (None, str(labelled_run))
    inputs = load(settings, (labelled_run,))
    record = inputs.identity["feature_extractor"]
    assert record["trained_on"].startswith("folder:") and record["sha256"]
    assert inputs.context["real"].features.shape == (12, 128)


def test_a_classifier_of_images_of_another_shape_is_refused(labelled_run):
    with pytest.raises(DataError, match=r"classifier of images \(8, 8, 1\).*images \(28, 28, 1\)"):
        load(view(data="mnist_5k", classifier=str(labelled_run), num_eval=12), (labelled_run,))


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"feature_extractor": "inception"}, "needs --inception_weights FILE"),
        ({"feature_extractor": "pixel"}, "did you mean 'pixels'"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "only a cross-entropy discriminator"),
        ({"label_smoothing": -0.1}, r"label_smoothing must be in \[0, 1\), got -0.1"),
        ({"generator_normalization": "groups"}, "such as 'group_8'; got 'groups'"),
        ({"discriminator_normalization": "spectral"}, "such as 'group_8'; got 'spectral'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        validate(EXPERIMENT, Config(**settings))


def test_pixels_of_large_images_are_refused(tmp_path):
    (tmp_path / "large").mkdir()
    for index in range(5):
        noise = np.random.default_rng(index).integers(0, 256, (80, 80), np.uint8)
        Image.fromarray(noise).save(tmp_path / "large" / f"{index}.png")
    dataset = data.load(f"folder:{tmp_path / 'large'}")
    with pytest.raises(ConfigError, match="at most 4,096 numbers, got 6,400"):
        extractors.of_pixels(dataset)


@pytest.mark.parametrize(
    "generator, discriminator, words",
    [
        ("batch", "none", "batch norm of the generator"),
        ("batch", "batch", "batch norm of the generator and the discriminator"),
        ("layer", "batch", "batch norm of the discriminator"),
        ("group_2", "layer", None),
    ],
)
def test_only_batch_norm_couples_a_batch(unlabelled, generator, discriminator, words):
    inputs = load(view(data=unlabelled, feature_extractor="pixels", num_eval=12), ())
    config, hyper = EXPERIMENT.build_view(
        Config(
            batch_size=4,
            features=4,
            generator_normalization=generator,
            discriminator_normalization=discriminator,
        )
    )
    task = EXPERIMENT.functions.build(config, hyper, inputs)
    assert task.batch_coupling == words
    _, state = jax.eval_shape(task.init, jax.random.key(0))
    state.pop("average")
    has_statistics = {name for name, s in state.items() if "batch_stats" in str(s)}
    assert has_statistics == {
        name
        for name, norm in (("generator", generator), ("discriminator", discriminator))
        if norm == "batch"
    }


def test_the_sliced_wasserstein_distance_of_one_feature_is_the_mean_gap_of_quantiles():
    """With one feature every direction is the axis, so the distance is the exact W_2."""
    real = np.random.default_rng(0).normal(size=(30, 1)).astype(np.float32)
    fake = np.random.default_rng(1).normal(2.0, 3.0, size=(30, 1)).astype(np.float32)
    gaps = np.sort(real[:, 0]).astype(np.float64) - np.sort(fake[:, 0])
    diverged = np.full_like(fake, np.nan)
    compared = types.SimpleNamespace(features=real, floor={"sliced_wasserstein": 0.5})
    inputs = Inputs({}, {}, {"real": compared})
    found = summarize({"features": np.stack([fake, diverged])}, Config(), inputs)
    expected = [np.sqrt(np.mean(np.square(gaps))), np.nan]
    np.testing.assert_allclose(found["sliced_wasserstein"], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["floor_sliced_wasserstein"], [0.5, np.nan])


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """The FID network's tensors with random numbers in them."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name, layer in LAYERS.items():
        shape = (layer.outputs, layer.inputs, layer.height, layer.width)
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        tensors[f"{name}.conv.weight"] = rng.standard_normal(shape, np.float32) * scale
        tensors |= {
            f"{name}.bn.{part}": np.full(layer.outputs, value, np.float32)
            for part, value in (
                ("weight", 1.0),
                ("bias", 0.1),
                ("running_mean", 0.0),
                ("running_var", 1.0),
            )
        }
    path = tmp_path_factory.mktemp("inception") / "weights.npz"
    np.savez(path, **tensors)
    return path


def test_inception_features_see_images_in_the_range_of_its_own(weights_file):
    """The weights travel as data; black is -1 for a model and 0 for the FID network."""
    extractor = extractors.of_inception(str(weights_file))
    assert extractor.identity["sha256"] == tree_sha256(inception.load(weights_file))
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 1), np.uint8)
    got = extractor.apply(extractor.weights, jnp.asarray(images / 127.5 - 1, jnp.float32))
    expected = inception.features(extractor.weights, images)
    assert got.shape == (2, inception.NUM_FEATURES)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_a_folder_without_classes_is_measured_on_inception(unlabelled, weights_file, tmp_path):
    words = ["--data", unlabelled, "--out", str(tmp_path / "run"), "--strategy", "map"]
    words += ["--feature_extractor", "inception", "--inception_weights", str(weights_file)]
    assert main(EXPERIMENT, [*words, *SMALL]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))
    assert "Inception" in summary["dataset"]["feature_extractor"]["features"]
    assert np.isfinite(summary["metrics"]["frechet"]["per_seed"]).all()
