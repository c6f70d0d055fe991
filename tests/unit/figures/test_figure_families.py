"""What each figure shows, and what it says when there is nothing to show."""

from functools import cache

import matplotlib
import numpy as np
import pandas as pd
import pytest
import synthetic_study as study
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hrsa.figures import style
from hrsa.figures.accuracy import accuracy_bars
from hrsa.figures.benchmarks import benchmark_table, mean_and_spread
from hrsa.figures.dynamics import dynamics_curves
from hrsa.figures.frames import NO_FLOOR, heatmap_cells, member_means, prepare_similarity
from hrsa.figures.heatmaps import layer_heatmaps
from hrsa.figures.knn import knn_curves
from hrsa.figures.probe import probe_bars
from hrsa.figures.procrustes import (
    block_maximum,
    h_inv_table,
    procrustes_figure,
    rotation_heatmaps,
)
from hrsa.figures.reward import loss_curves, reward_curve


def texts(artist) -> str:
    """Return all that is written in a figure or panel, on one line."""
    found = artist.findobj(lambda part: hasattr(part, "get_text"))
    return " ".join(" ".join(text.get_text().split()) for text in found)


def titles(fig) -> list[str]:
    return [title for ax in fig.axes if (title := ax.get_title(loc="left"))]


def panel(fig, title: str):
    return next(ax for ax in fig.axes if ax.get_title(loc="left").startswith(title))


def bands(ax, kind: str) -> list[np.ndarray]:
    """Corners of the filled bands in the colour of a kind."""
    colour = matplotlib.colors.to_rgb(style.kind_colour(kind))
    found = [band for band in ax.collections if band.get_paths()]
    coloured = [band for band in found if len(band.get_facecolor())]
    same = [band for band in coloured if tuple(band.get_facecolor()[0][:3]) == colour]
    return [band.get_paths()[0].vertices for band in same]


def heatmaps(similarity: pd.DataFrame, variant: str = "biased", **options):
    cells = heatmap_cells(similarity, metric="cka", statistic="cka", variant=variant)
    options = {"title": "CKA", "colour_label": "linear CKA", "low": 0.0, "high": 1.0} | options
    return layer_heatmaps(cells, **options)


class TestHeatmaps:
    def test_columns_are_sft_and_rlvr_and_rows_backbone_and_embedding(self, similarity):
        assert titles(heatmaps(similarity)) == [
            "SFT, backbone: base-sft", "RLVR, backbone: base-rlvr",
            "SFT, embedding: base-sft-emb", "RLVR, embedding: base-rlvr-emb",
        ]  # fmt: skip

    def test_layers_are_numbered_and_values_stand_in_the_cells(self, similarity):
        fig = heatmaps(similarity)
        ax = fig.axes[0]
        numbers = [str(layer) for layer in range(study.N_LAYERS + 1)]
        assert [label.get_text() for label in ax.get_xticklabels()] == numbers
        assert [label.get_text() for label in ax.get_yticklabels()] == numbers
        cells = heatmap_cells(similarity, metric="cka", statistic="cka", variant="biased")
        cell = cells[(cells["pair"] == "base-sft") & (cells["layer_reference"] == 6)]
        value = cell[cell["layer_candidate"] == 2]["value"].item()
        written = {text.get_position(): text.get_text() for text in ax.texts}
        assert written[2, 6] == f"{value:.2f}"

    def test_all_panels_share_one_labelled_colour_scale(self, similarity):
        fig = heatmaps(similarity)
        assert {image.get_clim() for ax in fig.axes for image in ax.images} == {(0.0, 1.0)}
        assert "linear CKA" in fig.axes[-1].get_ylabel()

    def test_a_place_without_a_pair_says_so(self, similarity):
        fig = heatmaps(similarity[similarity["pair"] != "base-rlvr"])
        ax = panel(fig, "RLVR, backbone")
        assert not ax.images
        assert "no such pair: no RLVR pair at the backbone stage" in texts(ax)

    def test_no_cells_at_all_gives_four_empty_panels(self):
        fig = heatmaps(pd.DataFrame())
        assert texts(fig).count("this metric was not computed") == 4

    def test_two_pairs_of_a_kind_get_a_row_each(self, similarity):
        twin = similarity[similarity["pair"] == "base-sft"].assign(pair="other-sft")
        fig = heatmaps(pd.concat([similarity, twin]))
        assert "SFT, backbone: other-sft" in titles(fig)
        assert "no other RLVR pair" in texts(fig)

    def test_many_layers_and_unequal_depths_leave_values_out_and_keep_the_last_number(self):
        layers = pd.MultiIndex.from_product([range(29), range(25)]).to_frame(index=False)
        cells = layers.set_axis(["layer_reference", "layer_candidate"], axis=1)
        cells = cells.assign(stage="backbone", kind="sft", pair="a-b", value=0.5)
        cells = cells.assign(**dict.fromkeys(("ci_low", "ci_high", "floor", "chance"), np.nan))
        fig = layer_heatmaps(cells, title="t", colour_label="c", low=-1, high=1)
        ax = fig.axes[0]
        assert not ax.texts
        assert ax.get_yticklabels()[-1].get_text() == "28"
        assert ax.get_xticklabels()[-1].get_text() == "24"

    def test_cells_are_means_over_seeds_of_final_models(self, similarity):
        cells = heatmap_cells(similarity, metric="cka", statistic="cka", variant="biased")
        frame = prepare_similarity(similarity)
        rows = frame[(frame["pair"] == "base-sft-emb") & (frame["variant"] == "biased")]
        rows = rows[(rows["layer_reference"] == 3) & (rows["layer_candidate"] == 3)]
        expected = rows[rows["step"].isna()]["value"]
        assert len(expected) == 3
        found = cells[(cells["pair"] == "base-sft-emb") & (cells["layer_reference"] == 3)]
        found = found[found["layer_candidate"] == 3]["value"].item()
        assert found == pytest.approx(expected.mean())

    def test_cells_whose_interval_reaches_the_seed_floor_are_framed(self, similarity):
        fig = heatmaps(similarity, "sample_debiased")
        cells = heatmap_cells(similarity, metric="cka", statistic="cka", variant="sample_debiased")
        framed = 0
        for pair in ("base-sft", "base-rlvr"):
            of_pair = cells[cells["pair"] == pair]
            within = of_pair["value"] + study.HALF_WIDTH >= of_pair["floor"]
            ax = next(ax for ax in fig.axes if ax.get_title(loc="left").endswith(pair))
            middles = {(round(box.get_x() + 0.4), round(box.get_y() + 0.4)) for box in ax.patches}
            places = of_pair[within][["layer_candidate", "layer_reference"]]
            assert middles == set(places.itertuples(index=False, name=None))
            framed += len(middles)
        assert 0 < framed < 2 * (study.N_LAYERS + 1) ** 2
        assert "Framed: as similar as two runs that differ only in a seed" in texts(fig)

    def test_intervals_chance_and_the_floor_of_the_diagonal_are_told(self, similarity):
        fig = heatmaps(similarity, "sample_debiased")
        assert "95 % intervals over texts: at most ± 0.02." in texts(fig)
        assert "Chance: 0.00." in texts(fig)
        cells = heatmap_cells(similarity, metric="cka", statistic="cka", variant="sample_debiased")
        same = cells[cells["layer_reference"] == cells["layer_candidate"]]
        same = same[(same["layer_reference"] > 0) & (same["pair"] == "base-sft")]
        value, floor = same[["value", "floor"]].mean()
        assert f"mean of the diagonal {value:.2f}, seed floor {floor:.2f}" in texts(fig.axes[0])

    def test_an_estimator_without_intervals_says_so_and_frames_nothing(self, similarity):
        fig = heatmaps(similarity, "biased")
        assert "This estimator has no valid interval" in texts(fig)
        assert not any(ax.patches for ax in fig.axes[:4])
        assert "Framed" not in texts(fig)

    def test_without_seed_pairs_nothing_is_framed(self, similarity):
        fig = heatmaps(similarity[similarity["kind"] != "seed"], "sample_debiased")
        assert "seed" not in texts(fig)
        assert not any(ax.patches for ax in fig.axes[:4])

    def test_cells_of_deep_models_are_dotted(self):
        layers = pd.MultiIndex.from_product([range(29), range(29)]).to_frame(index=False)
        cells = layers.set_axis(["layer_reference", "layer_candidate"], axis=1)
        cells = cells.assign(stage="backbone", kind="sft", pair="a-b", value=0.5, ci_low=0.4)
        cells = cells.assign(ci_high=0.6, chance=0.0, floor=0.7)
        cells.loc[3, "floor"] = 0.6
        fig = layer_heatmaps(cells, title="t", colour_label="c", low=-1, high=1)
        (dots,) = fig.axes[0].lines
        assert dots.get_xydata().tolist() == [[3, 0]]
        assert "Dotted: as similar" in texts(fig)


class TestProcrustes:
    def test_table_shows_h_inv_at_n_half_and_quarter_beside_chance(self, similarity):
        written = texts(h_inv_table(similarity))
        for text in ("H_inv at n", "at n/2", "at n/4", "chance", "base-sft-emb", "0.149", "4,000"):
            assert text in written

    def test_table_shows_the_interval_and_the_seed_floor(self, similarity):
        frame = prepare_similarity(similarity)
        rows = frame[(frame["pair"] == "base-control") & (frame["statistic"] == "h_inv")]
        value, floor = rows["value"].item(), rows["floor"].item()
        written = texts(h_inv_table(similarity))
        low, high = value - study.HALF_WIDTH, value + study.HALF_WIDTH
        assert f"{value:.3f} [{low:.2f}, {high:.2f}]" in written
        assert "seed floor" in written
        assert f"{floor:.3f}" in written

    def test_undefined_h_inv_is_a_dash_not_a_lost_row(self, similarity):
        rows = similarity["statistic"].str.startswith("h_inv")
        undefined = similarity.assign(value=similarity["value"].mask(rows))
        written = texts(h_inv_table(undefined))
        assert "base-sft" in written
        assert "–" in written

    def test_rotations_stand_beside_the_table(self, similarity):
        fig = procrustes_figure(similarity, study.rotations(), dataset="questions")
        images = [ax for ax in fig.axes if ax.images]
        assert len(images) == 4
        assert "RLVR, embedding: base-rlvr-emb" in titles(fig)
        assert "H_inv at n" in texts(fig)
        assert len({ax.images[0].norm for ax in images}) == 1

    def test_rotations_without_kinds_are_all_drawn(self):
        fig = rotation_heatmaps({"a": np.eye(4), "b": np.eye(4), "c": np.eye(4)})
        assert titles(fig) == ["a", "b", "c"]

    def test_shrinking_keeps_a_thin_diagonal_bright(self):
        small = block_maximum(np.eye(1000), 256)
        assert small.shape == (256, 256)
        assert (np.diag(small) == 1).all()

    def test_missing_results_are_named(self, similarity):
        without = similarity[similarity["metric"] != "procrustes"]
        assert "no inverse row entropies" in texts(h_inv_table(without))
        assert "no rotations" in texts(rotation_heatmaps({}))
        assert "no rotations" in texts(procrustes_figure(without, {}))


class TestNeighbours:
    def test_a_panel_per_stage_and_k_with_named_lines(self, similarity):
        fig = knn_curves(similarity)
        assert titles(fig) == [
            f"{stage}, k = {k}" for stage in ("backbone", "embedding") for k in (5, 10, 50)
        ]
        written = texts(panel(fig, "embedding, k = 50"))
        for name in ("base-sft-emb", "base-rlvr-emb", "base-contrastive", "seed floor", "chance"):
            assert name in written

    def test_chance_line_stands_at_the_chance_of_its_k(self, similarity):
        ax = panel(knn_curves(similarity), "backbone, k = 50")
        dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
        assert np.asarray(dotted[0].get_ydata()) == pytest.approx(0.018)

    def test_floor_band_spans_the_seed_pairs(self, similarity):
        ax = panel(knn_curves(similarity), "backbone, k = 10")
        frame = prepare_similarity(similarity)
        rows = frame[(frame["kind"] == "seed") & (frame["stage"] == "backbone")]
        rows = rows[(rows["k"] == 10) & (rows["layer_reference"] == 6)]["value"]
        band = ax.collections[0].get_paths()[0].vertices
        at_last = band[band[:, 0] == 6][:, 1]
        assert (at_last.min(), at_last.max()) == pytest.approx((rows.min(), rows.max()))

    def test_floor_line_is_the_mean_of_the_seed_pairs(self, similarity):
        ax = panel(knn_curves(similarity), "backbone, k = 10")
        frame = prepare_similarity(similarity)
        rows = frame[(frame["kind"] == "seed") & (frame["stage"] == "backbone")]
        rows = rows[(rows["statistic"] == "jaccard") & (rows["k"] == 10)]
        expected = rows[rows["layer_reference"] >= 0].groupby("layer_reference")["value"].mean()
        (dashed,) = (line for line in ax.lines if line.get_linestyle() == "--")
        assert np.asarray(dashed.get_ydata()) == pytest.approx(expected.to_numpy())

    def test_a_floor_that_the_table_has_is_drawn_as_it_is(self, similarity):
        known = similarity[similarity["kind"] != "seed"].assign(floor=0.5)
        ax = panel(knn_curves(known), "backbone, k = 10")
        (dashed,) = (line for line in ax.lines if line.get_linestyle() == "--")
        assert set(dashed.get_ydata()) == {0.5}

    def test_intervals_are_bands_around_means_over_seeds_too(self, similarity):
        ax = panel(knn_curves(similarity), "embedding, k = 10")
        frame = prepare_similarity(similarity)
        frame = frame[(frame["k"] == 10) & frame["step"].isna()]
        frame = frame[(frame["layer_reference"] == 6) & (frame["statistic"] == "jaccard")]
        for pair, kind in (("base-sft-emb", "sft"), ("base-contrastive", "contrastive")):
            (band,) = bands(ax, kind)
            values = frame[frame["pair"] == pair]["value"]
            assert len(values) == 3
            at_last = band[band[:, 0] == 6][:, 1]
            assert at_last.min() == pytest.approx(values.mean() - study.HALF_WIDTH)
            assert at_last.max() == pytest.approx(values.mean() + study.HALF_WIDTH)

    def test_without_seed_pairs_it_says_that_there_is_no_floor(self, similarity):
        written = texts(knn_curves(similarity[similarity["kind"] != "seed"]))
        assert NO_FLOOR in written
        assert "Dashed grey" not in written
        assert NO_FLOOR not in texts(knn_curves(similarity))

    def test_the_control_is_a_line_of_its_own(self, similarity):
        assert "base-control" in texts(panel(knn_curves(similarity), "backbone, k = 50"))

    def test_other_exclusion_or_empty_table_says_what_is_missing(self, similarity):
        assert "variant type" in texts(knn_curves(similarity, variant="type"))
        assert "no k-NN rows" in texts(knn_curves(pd.DataFrame()))

    def test_a_study_of_one_stage_has_panels_for_that_alone_and_keeps_its_axis(self, similarity):
        fig = knn_curves(similarity[similarity["stage"] == "backbone"])
        assert [ax.get_title("left") or ax.get_title() for ax in fig.axes] == [
            f"backbone, k = {k}" for k in (5, 10, 50)
        ]
        assert len(fig.axes[0].get_yticks()) > 2

    def test_means_over_data_sets_are_announced(self):
        both = study.similarity_table(("problems", "questions"))
        assert "mean over the data sets problems and questions" in texts(knn_curves(both))
        assert "data set: problems" in texts(knn_curves(both, dataset="problems"))


class TestProbe:
    def test_three_bars_per_pair_and_the_majority_line(self, similarity):
        fig = probe_bars(similarity)
        backbone = panel(fig, "backbone")
        assert len(backbone.patches) == 3 * 5
        assert "largest class 0.25" in texts(backbone)
        assert backbone.get_yticklabels()[0].get_text() == "base-sft"
        assert "candidate under the reference's probe" in texts(fig)

    def test_the_seed_floor_is_a_named_line_and_bars_have_whiskers(self, similarity):
        backbone = panel(probe_bars(similarity), "backbone")
        frame = prepare_similarity(similarity)
        rows = frame[(frame["stage"] == "backbone") & (frame["statistic"] == "accuracy")]
        seeds = rows[(rows["kind"] == "seed") & (rows["layer_reference"] == study.N_LAYERS)]
        (dashed,) = (line for line in backbone.lines if line.get_linestyle() == "--")
        assert dashed.get_xdata()[0] == pytest.approx(seeds["value"].mean())
        assert f"seed floor {seeds['value'].mean():.2f}" in texts(backbone)
        drawn = [line for line in backbone.lines if line.get_linestyle() == "-"]
        spans = [np.ptp(line.get_xdata()) for line in drawn]
        assert spans == pytest.approx([2 * study.HALF_WIDTH] * 15)

    def test_bars_show_the_final_layer(self, similarity):
        frame = prepare_similarity(similarity)
        rows = frame[(frame["pair"] == "base-control") & (frame["statistic"] == "accuracy")]
        value = rows[rows["layer_reference"] == study.N_LAYERS]["value"].item()
        widths = [bar.get_width() for bar in panel(probe_bars(similarity), "backbone").patches]
        assert any(width == pytest.approx(value) for width in widths)

    def test_without_probes_it_says_so(self, similarity):
        assert "no probe rows" in texts(probe_bars(similarity[similarity["metric"] == "cka"]))


class TestBenchmarks:
    def test_a_dot_per_seed_and_dashed_references(self):
        fig = benchmark_table(study.benchmarks_table(), kinds={"sft-emb": "sft"})
        ax = panel(fig, "TopicRetrieval")
        seeds = [line for line in ax.lines if len(line.get_xdata()) == 3]
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert len(seeds) == 3
        assert len(dashed) == 3  # two backbones and BM25
        assert "nDCG at 10" in ax.get_title(loc="left")

    def test_the_table_gives_means_and_spreads(self):
        written = texts(benchmark_table(study.benchmarks_table()))
        assert "0.868 ± 0.008" in written
        assert "model seeds" in written
        assert "BM25 (lexical)" in written

    def test_a_model_that_was_not_scored_on_a_task_says_so(self):
        fig = benchmark_table(study.benchmarks_table())
        assert "not scored" in texts(panel(fig, "TopicClassification"))
        assert "not scored" not in texts(panel(fig, "TopicRetrieval"))

    @pytest.mark.parametrize(("level", "lines"), [(0.5, [0.5]), (0.125, [])])
    def test_the_chance_level_is_said_and_drawn_where_the_panel_reaches_it(self, level, lines):
        table = study.benchmarks_table()
        table.loc[table["task"] == "TopicClassification", "chance"] = level
        fig = benchmark_table(table)
        ax = panel(fig, "TopicClassification")  # scores from 0.47 to 0.88
        marked = [line.get_xdata()[0] for line in ax.lines if line.get_gid() == "chance"]
        assert marked == lines
        assert ax.get_xlabel() == f"score (0 to 1; chance {level:.2g})"
        assert "chance" not in texts(panel(fig, "TopicRetrieval"))

    def test_a_chance_level_that_hangs_on_the_model_is_a_range(self):
        table = study.benchmarks_table()
        own = table["task"] == "TopicClassification"
        table.loc[own, "chance"] = 0.5
        table.loc[own & (table["model"] == "base"), "chance"] = 0.55
        ax = panel(benchmark_table(table), "TopicClassification")
        marked = [line.get_xdata()[0] for line in ax.lines if line.get_gid() == "chance"]
        assert marked == [0.5, 0.55]
        assert ax.get_xlabel() == "score (0 to 1; chance 0.5 to 0.55)"

    def test_a_mean_over_tasks_has_a_chance_level_if_each_task_has_one(self):
        table = study.benchmarks_table()
        own = table[table["type"] == "Classification"]
        many = [own.assign(task=f"Task{i:02}", chance=0.04 * i) for i in range(12)]
        label = panel(benchmark_table(pd.concat(many)), "local").get_xlabel()
        assert label == "score (0 to 1; chance 0.22)"  # mean of 0, 0.04 … 0.44
        many[3] = many[3].assign(chance=None)
        assert panel(benchmark_table(pd.concat(many)), "local").get_xlabel() == "score (0 to 1)"

    def test_variants_of_embedding_models_are_drawn_as_such(self):
        table = study.benchmarks_table()
        small = table[table["model"] == "sft-emb-b"].assign(model="small", recipe="quantised")
        names = ["base-emb", "rlvr-emb", "sft-emb", "sft-emb-b", "small"]
        fig = benchmark_table(pd.concat([table, small]), embedding=names)
        ax = panel(fig, "TopicRetrieval")
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert len(dashed) == 3  # as without it: two backbones and BM25
        labelled = panel(fig, "TopicClassification").get_yticklabels()
        drawn = [label.get_text() for label in labelled]
        assert drawn.index("small") < drawn.index("base")

    def test_many_tasks_become_means_per_suite_and_type(self):
        table = study.benchmarks_table()
        retrieval = table[table["type"] == "Retrieval"]
        many = pd.concat([retrieval.assign(task=f"Task{i:02}Retrieval") for i in range(12)])
        fig = benchmark_table(many)
        assert titles(fig) == ["local, Retrieval"]
        assert "local, Retrieval (12 tasks)" in texts(fig)

    def test_no_scores(self):
        assert "no benchmark scores" in texts(benchmark_table(pd.DataFrame()))

    def test_spread_of_one_value_is_not_invented(self):
        assert mean_and_spread(pd.Series([0.5])) == "0.500"
        assert mean_and_spread(pd.Series([], dtype=float)) == "–"


class TestDynamics:
    def test_a_panel_per_metric_with_lines_of_both_kinds_and_the_floor(self, similarity):
        fig = dynamics_curves(similarity, final_step=160)
        assert len(fig.axes) == 6
        written = texts(panel(fig, "Linear CKA"))
        for text in ("SFT", "RLVR", "seed floor", "debiased over samples", "training step", "160"):
            assert text in written

    def test_lines_end_at_the_final_model_of_the_followed_seed(self, similarity):
        ax = panel(dynamics_curves(similarity, final_step=160), "Dimension-wise")
        frame = prepare_similarity(similarity)
        rows = frame[(frame["pair"] == "base-sft-emb") & (frame["metric"] == "correlation")]
        rows = rows[(rows["layer_reference"] == -1) & rows["step"].isna()]
        rows = rows[rows["statistic"] == "mean"]
        expected = rows[rows["seed"] == 0]["value"].item()
        line = next(
            line
            for line in ax.lines
            if len(line.get_xdata()) == 5 and line.get_color() == style.kind_colour("sft")
        )
        assert list(line.get_xdata()) == [20, 40, 80, 120, 160]
        assert line.get_ydata()[-1] == pytest.approx(expected)

    def test_intervals_are_bands_of_lines_and_whiskers_of_open_marks(self, similarity):
        ax = panel(dynamics_curves(similarity, final_step=160), "Dimension-wise")
        (band,) = bands(ax, "sft")
        for step in (20, 160):
            at_step = band[band[:, 0] == step][:, 1]
            assert np.ptp(at_step) == pytest.approx(2 * study.HALF_WIDTH)
        whiskers = [one for one in ax.collections if hasattr(one, "get_segments")]
        spans = [np.ptp(line[:, 1]) for one in whiskers for line in one.get_segments()]
        assert spans == pytest.approx([2 * study.HALF_WIDTH] * 4)  # two further seeds, two kinds

    def test_the_floor_is_the_mean_of_the_seed_pairs_and_chance_below_is_told(self, similarity):
        ax = panel(dynamics_curves(similarity, final_step=160), "Dimension-wise")
        frame = prepare_similarity(similarity)
        seeds = frame[(frame["kind"] == "seed") & (frame["metric"] == "correlation")]
        seeds = seeds[(seeds["stage"] == "embedding") & (seeds["layer_reference"] == -1)]
        floor = seeds[seeds["statistic"] == "mean"]["value"].mean()
        (dashed,) = (line for line in ax.lines if line.get_linestyle() == "--")
        assert list(dashed.get_ydata()) == pytest.approx([floor, floor])
        assert "chance 0.00 ↓" in texts(ax)

    def test_a_control_without_checkpoints_is_a_line_across(self, similarity):
        control = similarity[similarity["pair"] == "base-control"].assign(stage="embedding")
        fig = dynamics_curves(pd.concat([similarity, control]), final_step=160)
        assert "control" in texts(panel(fig, "Linear CKA"))
        assert "control" not in texts(panel(dynamics_curves(similarity), "Linear CKA"))

    def test_a_metric_that_was_left_out_says_so(self, similarity):
        fig = dynamics_curves(similarity[similarity["metric"] != "cka"])
        assert "no cka rows with a step" in texts(panel(fig, "Linear CKA"))

    def test_without_checkpoints(self, similarity):
        fig = dynamics_curves(similarity[similarity["step"].isna()])
        assert "no checkpoints at the embedding stage" in texts(fig)


class TestTrainingCurves:
    def test_reward_and_accuracy_with_a_line_per_seed(self):
        fig = reward_curve(study.curves_table())
        assert titles(fig) == ["reward", "accuracy on training problems, sampled"]
        for ax in fig.axes:
            assert "rlvr, seed 0" in texts(ax)
            assert "rlvr, seed 1" in texts(ax)
            assert len(ax.lines) == 4  # each seed: logged steps and running mean

    def test_a_reward_that_is_the_accuracy_is_drawn_once_beside_what_else_is_logged(self):
        curves = study.curves_table().assign(entropy=0.1, completion_length=14.0)
        fig = reward_curve(curves.assign(reward=curves["accuracy"]))
        assert titles(fig) == [
            "reward: accuracy on training problems",
            "entropy of the next token",
            "length of a completion",
        ]

    def test_the_divergence_from_the_parent_and_the_form_have_panels_where_they_are_logged(self):
        curves = study.curves_table().assign(entropy=0.1, completion_length=14.0)
        curves = curves.assign(kl=0.02, format=0.5).convert_dtypes()  # as read from Parquet
        fig = reward_curve(curves)
        assert titles(fig) == [
            "reward",
            "accuracy on training problems, sampled",
            "form of the answer",
            "entropy of the next token",
            "length of a completion",
            "divergence from the parent",
        ]
        kl = panel(fig, "divergence")
        assert kl.get_ylabel() == "KL (nats per token)"
        assert kl.lines[0].get_ydata() == pytest.approx(0.02)
        assert panel(fig, "form of").get_ylim()[1] > 1
        assert fig.get_figwidth() < 14  # two rows of three, not one of six
        without = reward_curve(curves.assign(kl=pd.NA))
        assert len(titles(without)) == 5

    def test_a_study_whose_models_are_made_without_training_has_no_losses(self):
        curves = study.curves_table()
        made = curves[curves["recipe"] == "sft"].assign(recipe="merge", model="merged", loss=pd.NA)
        fig = loss_curves(pd.concat([curves, made]))
        assert len(titles(fig)) == 5
        assert "no training in this study" in texts(loss_curves(made))

    def test_losses_stand_in_a_panel_per_recipe(self):
        fig = loss_curves(study.curves_table(), kinds={"base-emb": "base", "sft-emb": "sft"})
        assert len(titles(fig)) == 5
        contrastive = panel(fig, "contrastive")
        assert len(contrastive.lines) == 6
        assert {line.get_color() for line in contrastive.lines} == {
            style.kind_colour("base"), style.kind_colour("sft"),
        }  # fmt: skip

    def test_a_model_without_a_kind_has_no_kind_s_colour(self):
        fig = loss_curves(study.curves_table(), kinds={"sft-emb": "sft"})
        contrastive = panel(fig, "contrastive")
        assert {line.get_color() for line in contrastive.lines} == {
            style.kind_colour("sft"), style.QUIET,
        }  # fmt: skip
        assert style.QUIET not in style.KIND_COLOURS.values()

    def test_no_training(self):
        curves = study.curves_table()
        no_reward = curves[curves["recipe"] != "rlvr"]
        assert "no training with a reward" in texts(reward_curve(no_reward))
        assert "no training in this study" in texts(loss_curves(pd.DataFrame()))


class TestAccuracy:
    def test_two_bars_per_model_in_a_panel_per_split(self):
        fig = accuracy_bars(study.accuracy_table())
        assert titles(fig) == ["new problems, known templates", "new problems, new templates"]
        names = [label.get_text() for label in fig.axes[0].get_yticklabels()]
        assert names == [
            "base", "sft, seed 0", "sft, seed 1", "rlvr, seed 0", "rlvr, seed 1", "control",
        ]  # fmt: skip
        for ax in fig.axes:
            assert len(ax.patches) == 2 * 6

    def test_dashed_lines_stand_at_the_base_model(self):
        ax = accuracy_bars(study.accuracy_table()).axes[0]
        before = {line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"}
        assert before == {0.62, 0.41}

    def test_no_accuracies(self):
        assert "no accuracies were measured" in texts(accuracy_bars(pd.DataFrame()))


@pytest.mark.parametrize(
    ("draw", "table"),
    [(knn_curves, study.similarity_table), (accuracy_bars, study.accuracy_table)],
)
def test_a_table_that_lacks_a_column_is_refused_with_its_name(draw, table):
    column = "stage" if draw is knn_curves else "split"
    with pytest.raises(ValueError, match=column):
        draw(table().drop(columns=column))


def pixels(fig) -> np.ndarray:
    fig.set_dpi(40)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@cache
def as_drawn(draw) -> np.ndarray:
    return pixels(draw(study.similarity_table()))


DRAWN = [knn_curves, probe_bars, dynamics_curves, h_inv_table, heatmaps]


@pytest.mark.parametrize("draw", DRAWN)
def test_order_of_rows_does_not_matter(draw, similarity):
    shuffled = similarity.sample(frac=1, random_state=3)
    assert (as_drawn(draw) == pixels(draw(shuffled))).all()


@pytest.mark.parametrize("draw", DRAWN)
def test_statistics_that_no_figure_shows_do_not_leak_into_one(draw, similarity):
    further = similarity["statistic"].str.endswith("_max")
    further |= similarity["statistic"] == "reverse_accuracy"
    assert further.any()
    assert (as_drawn(draw) == pixels(draw(similarity[~further]))).all()


def test_a_mean_has_an_interval_only_where_all_its_members_have_one():
    rows = pd.DataFrame({"group": ["a", "a", "b", "b"], "value": [0.2, 0.4, 0.5, 0.7]})
    rows = rows.assign(ci_low=[0.1, 0.3, 0.4, np.nan], ci_high=[0.3, 0.5, 0.6, np.nan])
    found = member_means(rows.assign(floor=0.8, chance=0.1), "group")
    assert found["value"].tolist() == pytest.approx([0.3, 0.6])
    assert found.loc["a", ["ci_low", "ci_high"]].tolist() == pytest.approx([0.2, 0.4])
    assert found.loc["b", ["ci_low", "ci_high"]].isna().all()
