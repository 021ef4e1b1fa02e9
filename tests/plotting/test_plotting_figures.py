"""Figures: what is drawn is what was given, in both themes, and without global state."""

import io
import sys
import warnings

import numpy as np
import pytest
import scipy.stats
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from PIL import Image

from dgm_jax import plotting
from dgm_jax.core import ConfigError
from dgm_jax.plotting import curves, style


def render(figure):
    """uint8[H, W, 3] of the saved PNG; matplotlib's warnings are errors."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


def everything(theme):
    rng = np.random.default_rng(0)
    grid = np.linspace(-1, 1, 5)
    points = rng.normal(size=(3, 50, 2))
    return {
        "curves": plotting.training_curves(
            [0, 1, 2], {"a": {"loss": rng.normal(size=(3, 4))}}, theme=theme
        )["loss"],
        "lines": plotting.lines(
            [1, 2, 3],
            {"y": [1.0, 2.0, 4.0]},
            levels={"truth": 2.0},
            log_x=True,
            log_y=True,
            theme=theme,
        ),
        "scatter": plotting.scatter_samples(
            points, np.zeros((1, 2)), scale=0.1, title="t", theme=theme
        ),
        "grid": plotting.image_grid(rng.random((5, 6, 6, 1)), title="t", theme=theme),
        "strip": plotting.image_strip_over_training(
            rng.random((3, 2, 6, 6, 3)), [0, 10, 20], title="t", theme=theme
        ),
        "heatmap": plotting.heatmap_on_grid(
            rng.normal(size=(5, 5)), grid, grid, points=[[0, 0]], signed=True, theme=theme
        ),
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_figure_draws_in_its_theme_and_without_pyplot(theme):
    background = tuple(int(plotting.THEMES[theme].background[i : i + 2], 16) for i in (1, 3, 5))
    for name, figure in everything(theme).items():
        picture = render(figure)
        assert tuple(picture[0, -1]) == background, name
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 5, name
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_unknown_theme():
    with pytest.raises(ConfigError, match="'dark'"):
        plotting.lines([0], {"y": [0]}, theme="darc")


def luminance(colour):
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(theme):
    """WCAG 2: text at least 7 to 1; the first three lines at least 3 to 1, the others 2 to 1 (they
    have dashes too)."""
    colours = plotting.THEMES[theme]

    def contrast(colour):
        low, high = sorted([luminance(colour), luminance(colours.background)])
        return (high + 0.05) / (low + 0.05)

    assert contrast(colours.text) > 7
    assert min(map(contrast, colours.palette[:3])) > 3 and min(map(contrast, colours.palette)) > 2
    styles = [
        tuple(sorted((k, str(v)) for k, v in style.line_style(i, theme).items())) for i in range(28)
    ]
    assert len(set(styles)) == 28


def test_mean_and_band_against_scipy():
    values = np.random.default_rng(0).normal(size=(4, 6))
    values[1, 2:] = np.nan
    values[2, 1:] = np.nan
    values[3] = np.nan
    mean, low, high = curves.mean_and_band(values)
    for t in (0, 1):
        good = values[t][np.isfinite(values[t])]
        expected = scipy.stats.t.interval(0.95, good.size - 1, good.mean(), scipy.stats.sem(good))
        assert (mean[t], low[t], high[t]) == pytest.approx((good.mean(), *expected))
    assert mean[2] == values[2, 0] and np.isnan([low[2], high[2], mean[3]]).all()


def test_training_curves_draw_every_seed_and_the_mean_over_the_good_ones():
    nan = np.nan
    arms = {
        "vanilla": {"modes": [[1, 3], [nan, nan], [4, nan]], "loss": [1.0, 2.0, 3.0]},
        "packed2": {"modes": [[8, 9]] * 3},
    }
    figures = plotting.training_curves([0, 10, 20], arms)
    assert list(figures) == ["modes", "loss"]
    axes = figures["modes"].axes[0]
    vanilla, packed = axes.get_lines()
    assert vanilla.get_xydata().tolist() == [[0, 2], [20, 4]]
    assert packed.get_ydata().tolist() == [8.5, 8.5, 8.5]
    thin = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert [len(c.get_segments()) for c in thin] == [2, 2]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["vanilla", "packed2"]
    low, high = axes.get_ylim()
    assert low <= 1 and high >= 9
    assert len(figures["loss"].axes[0].get_lines()) == 1
    render(figures["modes"])


def test_the_axis_holds_the_seeds_that_leave_the_band():
    axes = plotting.training_curves([0, 1], {"": {"m": np.array([[0.0] * 40 + [50.0]] * 2)}})[
        "m"
    ].axes[0]
    assert axes.get_ylim()[1] >= 50


def test_bands_end_where_values_end_and_the_axis_follows_the_lines():
    """Student's band of (0, 8, 8, 8) is 6 -+ 6.4, wider than a count of 0 to 8 can be."""
    values = np.array([[0.0, 8.0, 8.0, 8.0]] * 2)
    extras = plotting.Extras({"modes": (0, 8)}, {"modes": {"perfect": 8.0}})
    axes = plotting.training_curves([0, 1], {"a": {"modes": values}}, extras=extras)["modes"].axes[
        0
    ]
    band = next(c for c in axes.collections if isinstance(c, PolyCollection))
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.0, 8.0)
    free = plotting.training_curves([0, 1], {"a": {"modes": values}})["modes"].axes[0]
    band = next(c for c in free.collections if isinstance(c, PolyCollection))
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(6 + 3.18245 * 2, abs=1e-3)
    assert free.get_ylim() == pytest.approx((-0.48, 8.48))
    assert axes.get_lines()[-1].get_ydata() == [8.0, 8.0]
    assert axes.get_lines()[-1].get_linestyle() == "--"


def test_below_four_seeds_there_are_dots_and_no_band():
    for seeds, bands in ((3, 0), (4, 1)):
        axes = plotting.training_curves([0, 1], {"a": {"m": np.ones((2, seeds))}})["m"].axes[0]
        found = [c for c in axes.collections if isinstance(c, PolyCollection)]
        dots = [c for c in axes.collections if isinstance(c, PathCollection)]
        assert (len(found), len(dots)) == (bands, 1 - bands)
        assert all(len(c.get_offsets()) == 2 * seeds for c in dots)


def test_values_by_setting():
    values = np.array([[1.0, 3.0], [2.0, 2.0], [np.nan, 5.0]])
    figure = plotting.values_by_setting(
        [0.001, 0.01, 0.1], {"": values}, xlabel="rate", log_x=True, limits=(0, None)
    )
    axes = figure.axes[0]
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "rate"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    dots = next(c for c in axes.collections if isinstance(c, PathCollection)).get_offsets()
    assert sorted(np.ma.compressed(np.ma.masked_invalid(dots[:, 1]))) == [1, 2, 2, 3, 5]
    mean = next(line for line in axes.get_lines() if line.get_marker() == "o")
    assert mean.get_ydata().tolist() == [2, 2, 5]
    bars = next(c for c in axes.collections if isinstance(c, LineCollection)).get_segments()
    # t(0.975, 1) = 12.7062 times a standard error of 1, cut at 0; one seed has no interval
    assert bars[0][:, 1] == pytest.approx([0.0, 2 + 12.7062], abs=1e-3)
    assert bars[2][:, 1].tolist() == [5, 5]
    render(figure)
    render(plotting.values_by_setting(["a", "b"], {"x": [[1], [2]], "y": [[3], [4]]}))
    with pytest.raises(ConfigError, match=r"expected shape \[2, S\]"):
        plotting.values_by_setting([1, 2], {"x": [[1]]})


def test_heatmap_of_settings():
    figure = plotting.heatmap_of_settings(
        [[1.0, np.nan]], ["8", "16"], ["0.1"], xlabel="width", ylabel="rate"
    )
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["1"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["8", "16"]
    render(figure)
    with pytest.raises(ConfigError, match=r"expected \[1, 2\]"):
        plotting.heatmap_of_settings([[1.0]], ["8", "16"], ["0.1"])


def test_curves_of_nothing_are_empty_not_an_error():
    render(plotting.training_curves([0, 1], {"a": {"m": np.full((2, 3), np.nan)}})["m"])
    render(plotting.training_curves([5], {"a": {"m": [[1.0, 2.0]]}})["m"])
    assert plotting.training_curves([], {}) == {}


@pytest.mark.parametrize(
    "name",
    ["$\\frac{", "_hidden", "a$b", "\x1b[31m", "<script>", "x" * 500, "line\nbreak", "$$", "\\"],
)
def test_names_are_drawn_as_they_are(name):
    figure = plotting.training_curves(
        [0, 1], {name: {name: np.zeros((2, 2))}, "b": {name: np.ones((2, 2))}}
    )[name]
    assert len(figure.axes[0].get_legend().get_texts()) == 2
    render(figure)


def test_lines_check_their_shapes():
    with pytest.raises(ConfigError, match=r"expected shape \[3\]"):
        plotting.lines([0, 1, 2], {"y": [0, 1]})


def test_scatter_counts_what_it_does_not_show():
    samples = np.zeros((2, 10, 2))
    samples[0, :3] = 100.0
    samples[1] = np.nan
    figure = plotting.scatter_samples(
        samples, np.array([[0.0, 0.0], [1.0, 1.0]]), scale=0.1, titles=["a", "b"]
    )
    first, second = figure.axes
    assert first.get_xlabel() == "3 outside" and second.get_xlabel() == "10 not finite"
    assert len(first.collections[0].get_offsets()) == 7
    assert [t.get_text() for t in second.texts] == ["no finite sample"]
    assert sorted(p.radius for p in first.patches) == pytest.approx([0.3, 0.3])
    assert first.get_xlim() == second.get_xlim() == first.get_ylim()
    render(figure)


def test_scatter_says_when_seeds_are_left_out_and_thins_points():
    figure = plotting.scatter_samples(
        np.random.default_rng(0).normal(size=(14, 30, 2)), title="vanilla"
    )
    assert figure.get_suptitle() == "vanilla (first 12 of 14 seeds)"
    assert sum(axes.get_visible() for axes in figure.axes) == 12
    figure = plotting.scatter_samples(
        np.random.default_rng(0).normal(size=(20_000, 2)), limits=(-9, 9, -9, 9)
    )
    assert len(figure.axes[0].collections[0].get_offsets()) == 5000


def test_scatter_colours_points_by_density():
    """Half of the points in one place, the rest spread out: the crowd has the highest colour, and
    lies on top."""
    spread = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    samples = np.concatenate([np.full((200, 2), 0.512), spread])
    points = plotting.scatter_samples(samples, limits=(-1, 1, -1, 1)).axes[0].collections[0]
    densest = points.get_offsets()[points.get_array() == points.get_array().max()]
    assert len(densest) >= 200 and np.abs(densest - 0.512).max() < 2 / 60
    assert np.allclose(points.get_offsets()[-1], densest[-1])


def test_scatter_checks_its_shapes():
    with pytest.raises(ConfigError, match=r"\(2, 3, 3\)"):
        plotting.scatter_samples(np.zeros((2, 3, 3)))
    with pytest.raises(ConfigError, match="means"):
        plotting.scatter_samples(np.zeros((3, 2)), np.zeros(2))


def shown(figure):
    return figure.axes[0].get_images()[0].get_array()


def test_groups_have_a_panel_each_and_a_colour_a_group():
    groups = np.random.default_rng(0).normal(size=(2, 3, 10, 2))
    groups[1, 2, 0] = np.nan
    figure = plotting.scatter_groups(
        groups, ["a", "b", "c"], limits=(-3, 3, -2, 2), titles=["left", "right"]
    )
    panels = figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["left", "right"]
    for panel, axes in zip(groups, panels, strict=True):
        assert (*axes.get_xlim(), *axes.get_ylim()) == (-3, 3, -2, 2)
        for points, drawn in zip(panel, axes.collections, strict=True):
            np.testing.assert_array_equal(drawn.get_offsets(), points[np.isfinite(points).all(1)])
        colours = {tuple(drawn.get_facecolor()[0]) for drawn in axes.collections}
        assert len(colours) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    render(figure)


def test_groups_check_their_shapes():
    with pytest.raises(ConfigError, match=r"expected groups \[1, 2, N, 2\], found \(1, 3, 10, 2\)"):
        plotting.scatter_groups(
            np.zeros((1, 3, 10, 2)), ["a", "b"], limits=(0, 1, 0, 1), titles=["one"]
        )


def test_image_grid_places_images_row_by_row():
    images = (
        np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 2, 3, 1), np.uint8) * 40
    )
    canvas = shown(plotting.image_grid(images, num_columns=3))
    assert canvas.shape == (2 * 2 + 1, 3 * 3 + 2, 3)
    for index in range(5):
        top, left = index // 3 * 3, index % 3 * 4
        assert (canvas[top : top + 2, left : left + 3] == index * 40).all()
    assert (canvas[2] == 255).all() and (canvas[3:, 8:] == 255).all()


@pytest.mark.parametrize(
    "value_range, value, expected",
    [
        ((0, 1), 0.5, 128),
        ((-1, 1), 0.0, 128),
        ((-1, 1), 5.0, 255),
        ((0, 1), -1.0, 0),
        ((0, 255), 7.0, 7),
    ],
)
def test_float_pixels(value_range, value, expected):
    canvas = shown(
        plotting.image_grid(np.full((1, 2, 2, 3), value, np.float32), value_range=value_range)
    )
    assert (canvas == expected).all()


def test_pixels_that_are_no_numbers_are_magenta():
    images = np.zeros((1, 2, 2, 1))
    images[0, 0, 1] = np.nan
    images[0, 1, 0] = np.inf
    canvas = shown(plotting.image_grid(images))
    assert canvas[0, 1].tolist() == canvas[1, 0].tolist() == [255, 0, 255]
    assert canvas[0, 0].tolist() == canvas[1, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "images, words",
    [
        (np.zeros((2, 4, 4, 2)), "C = 1 or 3"),
        (np.zeros((4, 4)), r"\(4, 4\)"),
        (np.zeros((0, 4, 4, 1)), "images"),
        (np.zeros((1, 4, 4, 1), np.int64), "int64"),
    ],
)
def test_what_is_no_image_is_refused(images, words):
    with pytest.raises(ConfigError, match=words):
        plotting.image_grid(images)


def test_every_pixel_is_enlarged_by_the_same_whole_number():
    """A checkerboard of single pixels keeps its two colours only: no pixel falls between two."""
    board = (np.indices((28, 28)).sum(axis=0) % 2 * 255).astype(np.uint8)
    picture = render(plotting.image_grid(np.stack([board] * 4)))
    assert {tuple(c) for c in np.unique(picture.reshape(-1, 3), axis=0)} <= {
        (0, 0, 0),
        (255, 255, 255),
    }
    runs = np.diff(np.flatnonzero(np.diff(picture[0, :, 0].astype(int)) != 0))
    factor = picture.shape[0] // 57
    assert factor >= 2 and set(runs[:20]) == {factor}


def test_strip_has_a_row_per_noise_and_a_column_per_step():
    images = np.zeros((3, 2, 4, 4), np.uint8)
    for step in range(3):
        for noise in range(2):
            images[step, noise] = 100 * noise + 10 * step
    figure = plotting.image_strip_over_training(images, [0, 500, 1000], title="fixed noise")
    canvas = shown(figure)
    assert canvas.shape == (9, 14, 3)
    assert [[int(canvas[n * 5, s * 5, 0]) for s in range(3)] for n in range(2)] == [
        [0, 10, 20],
        [100, 110, 120],
    ]
    assert [t.get_text() for t in figure.axes[0].texts] == ["step 0", "500", "1000"]
    with pytest.raises(ConfigError, match=r"\[2, n, H, W, C\]"):
        plotting.image_strip_over_training(images, [0, 1])


def test_heatmap_orientation_and_common_scale():
    x, y = np.linspace(0, 2, 3), np.linspace(10, 13, 4)
    values = np.stack([x[None] + 0 * y[:, None], y[:, None] + 0 * x[None]])
    values[1, 0, 0] = np.inf
    figure = plotting.heatmap_on_grid(values, x, y, titles=["x", "y"], colour_label="logit")
    first, second = (axes.get_images()[0] for axes in figure.axes[:2])
    assert first.get_clim() == second.get_clim() == (0.0, 13.0)
    assert first.get_extent() == [-0.5, 2.5, 9.5, 13.5] and first.origin == "lower"
    assert second.get_array().mask.sum() == 1
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["x", "y"]
    render(figure)


def test_signed_heatmap_has_zero_in_the_middle():
    figure = plotting.heatmap_on_grid([[-1.0, 3.0]], [0, 1], [0], signed=True)
    assert figure.axes[0].get_images()[0].get_clim() == (-3.0, 3.0)
    render(plotting.heatmap_on_grid(np.full((2, 2), np.nan), [0, 1], [0, 1]))
    with pytest.raises(ConfigError, match="y by x"):
        plotting.heatmap_on_grid(np.zeros((3, 2)), [0, 1, 2], [0, 1])
