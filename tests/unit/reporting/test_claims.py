"""The table of claims, on a study with planted similarities and on the published numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted_claims import DOSE, PlantedStudy, differences_table, dose_table

import hrsa.reporting
from hrsa.errors import UserError
from hrsa.reporting.claim_evidence import Evidence
from hrsa.reporting.claim_kinds import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_APPLICABLE,
    SUPPORTED,
    VERDICTS,
)
from hrsa.reporting.claim_list import read_claims
from hrsa.reporting.claims import CLAIM_COLUMNS, claims_table, headline_claims
from hrsa.reporting.doses import doses
from hrsa.reporting.effects import effects_table
from hrsa.reporting.reanalysis import alignment_by_kind, neighbours_by_kind, reanalyse

PUBLISHED = Path(hrsa.reporting.__file__).parent / "published"


def row(table: pd.DataFrame, name: str) -> pd.Series:
    found = table[table["id"] == name]
    assert len(found) == 1, sorted(table["id"])
    return found.iloc[0]


def published() -> dict[str, pd.DataFrame]:
    h_inv, knn = (
        pd.read_csv(PUBLISHED / f"{name}.csv") for name in ("inverse_row_entropy", "knn_overlap")
    )
    return {
        "reanalysis": reanalyse(pd.read_csv(PUBLISHED / "table1.csv")),
        "published_alignment": pd.concat([alignment_by_kind(h_inv), neighbours_by_kind(knn)]),
    }


def judged(tmp_path, study=None, **changes) -> pd.DataFrame:
    return claims_table((study or PlantedStudy()).evidence(tmp_path, **changes))


class TestTable:
    def test_every_claim_is_judged_and_no_two_rows_have_one_name(self, tmp_path):
        table = judged(tmp_path, **published())
        assert list(table) == list(CLAIM_COLUMNS)
        assert table["id"].is_unique
        assert set(table["verdict"]) <= set(VERDICTS)
        heads = {name.partition(".")[0] for name in table["id"]}
        assert heads == {claim.id for claim in read_claims()}
        assert table[["claim", "level", "reason"]].map(bool).all(axis=None)

    def test_a_study_without_anything_has_no_verdict_but_names_what_is_missing(self):
        table = claims_table(Evidence())
        assert set(table["verdict"]) == {NOT_APPLICABLE}
        reasons = row(table, "sft-changes-function-more.backbone")["reason"]
        assert reasons == "not applicable: the study does not compute probe (accuracy)"
        scores = row(table, "rlvr-scores-equal")["reason"]
        assert scores == "not applicable: no difference of benchmark scores of a pair of kind rlvr"

    def test_a_decided_verdict_always_has_an_interval_or_parts_that_do(self, tmp_path):
        table = judged(tmp_path, **published())
        decided = table[table["verdict"].isin([SUPPORTED, CONTRADICTED])]
        of_parts = decided["direction"] == "all parts hold"
        descriptive = decided["reason"].str.contains("not a test")
        assert (decided["ci_low"].notna() | of_parts | descriptive).all()

    def test_published_numbers_are_no_part_of_what_the_study_says(self):
        heads = headline_claims(claims_table(Evidence(**published())))
        shown = heads[heads["id"].str.startswith("rlvr-scores-equal")]
        assert list(shown["verdict"]) == [NOT_APPLICABLE, CONTRADICTED, SUPPORTED]

    def test_heads_are_told_from_parts(self, tmp_path):
        heads = set(headline_claims(judged(tmp_path))["id"])
        assert "sft-changes-geometry-more.backbone" in heads
        assert "sft-changes-geometry-more.backbone.cka" not in heads

    def test_the_order_of_rows_does_not_matter(self, tmp_path):
        study = PlantedStudy(datasets=("problems", "questions"))
        evidence = study.evidence(tmp_path)
        first = claims_table(evidence)
        shuffled = study.table().sample(frac=1, random_state=3)
        again = claims_table(study.evidence(tmp_path, similarity=shuffled))
        pd.testing.assert_frame_equal(again, first, check_exact=True)


class TestNumbers:
    def test_effects_and_errors_are_those_of_the_table_of_effects(self, tmp_path):
        study = PlantedStudy(noise=1e-3, seed=4)
        evidence = study.evidence(tmp_path)
        effects = effects_table(evidence.similarity, evidence.replicates).set_index(
            ["kind", "stage", "metric", "layer"]
        )
        table = claims_table(evidence)
        names = ["effect", "se", "ci_low", "ci_high"]
        for claim, key in {
            "rlvr-keeps-global-changes-local.backbone.cka": ("rlvr", "backbone", "cka", -1),
            "sft-changes-geometry-more.embedding.knn": ("sft − rlvr", "embedding", "knn", -1),
            "sft-changes-function-more.backbone": ("sft − rlvr", "backbone", "probe", 3),
            "sft-changes-representation-more.backbone.h_inv": (
                "sft − rlvr", "backbone", "procrustes", 3,
            ),
        }.items():  # fmt: skip
            expected = effects.loc[[key]][names].astype(float).to_numpy()
            np.testing.assert_allclose(
                row(table, claim)[names].astype(float).to_numpy()[None], expected, rtol=1e-10
            )

    def test_several_data_sets_are_averaged_as_independent_and_named(self, tmp_path):
        both = judged(tmp_path, PlantedStudy(datasets=("problems", "questions"), noise=1e-3))
        found = row(both, "sft-changes-function-more.backbone")
        assert found["effect"] == pytest.approx(0.25)
        assert "mean of problems +0.2500 and questions +0.2500" in found["reason"]
        parts = []
        for name in ("problems", "questions"):
            study = PlantedStudy(datasets=("problems", "questions"), noise=1e-3)
            study.rows = [one for one in study.rows if one["dataset"] == name]
            parts.append(row(judged(tmp_path, study), "sft-changes-function-more.backbone")["se"])
        assert found["se"] == pytest.approx(np.hypot(*parts) / 2)

    def test_runs_seeds_and_dose_are_said(self, tmp_path):
        found = row(judged(tmp_path), "sft-changes-function-more.backbone")
        assert found["conditional_on"] == (
            "runs base ~ sft.s0, base ~ sft.s1, base ~ rlvr.s0, base ~ rlvr.s1 (2 training seeds); "
            "seeds vary the last training alone, from base (4); data sets questions; the interval "
            "is over texts, these models held fixed; the interval is given the fitted probes; dose "
            "not matched"
        )
        assert found["dose"] == (
            "SFT: weights 0.11, KL 2.5; RLVR: weights 0.01, KL 0.02; dose not matched"
        )
        assert (found["n_seeds"], found["n_pairs"], found["chance"]) == (2, 2, 0.1)

    def test_doses_within_a_factor_of_one_and_a_half_are_matched(self, tmp_path):
        close = dose_table([(*one[:4], 0.025 if one[0] == "sft" else one[4]) for one in DOSE])
        found = row(judged(tmp_path, dose=close), "sft-changes-function-more.backbone")
        assert found["dose"].endswith("; dose matched")
        assert found["conditional_on"].endswith("; dose matched")

    def test_unknown_doses_are_not_called_unmatched(self, tmp_path):
        unknown = dose_table([(*one[:4], None) for one in DOSE])
        found = row(judged(tmp_path, dose=unknown), "sft-changes-function-more.backbone")
        assert found["dose"].endswith("; whether the doses match is not known")
        assert found["conditional_on"].endswith("; whether the doses match is not known")

    def test_the_dose_of_an_embedding_model_is_that_of_the_backbone_behind_it(self):
        found = doses(dose_table())
        assert found.of("sft-emb.s0")[0] == "sft.s0"
        assert found.mean(["sft-emb.s0"]).kl == 2.0
        assert str(found.mean(["base-emb.s0"])) == "unknown"


class TestVerdicts:
    def test_sft_that_changes_more_is_supported_and_the_reverse_contradicted(self, tmp_path):
        table = judged(tmp_path)
        swapped = judged(tmp_path, PlantedStudy({"base-sft": 0.95, "base-rlvr": 0.70}))
        for name in ("representation", "geometry", "function"):
            claim = f"sft-changes-{name}-more.backbone"
            assert row(table, claim)["verdict"] == SUPPORTED
            assert row(swapped, claim)["verdict"] == CONTRADICTED

    def test_the_public_summary_is_the_opposite(self, tmp_path):
        found = row(judged(tmp_path), "summary-sft-aligns-more.backbone")
        assert (found["verdict"], found["effect"]) == (CONTRADICTED, pytest.approx(-0.25))

    def test_no_difference_is_inconclusive(self, tmp_path):
        same = PlantedStudy({"base-sft": 0.9, "base-rlvr": 0.9}, noise=1e-2, seed=1)
        found = row(judged(tmp_path, same), "sft-changes-function-more.backbone")
        assert found["verdict"] == INCONCLUSIVE

    def test_global_geometry_kept_and_local_changed(self, tmp_path):
        # floor's distance 0.04, margin 0.08: CKA at 0.95 is 0.01 beyond the floor, k-NN 0.36
        planted = {("knn", "base-rlvr"): 0.60}
        table = judged(tmp_path, PlantedStudy(planted))
        name = "rlvr-keeps-global-changes-local.backbone"
        cka = row(table, f"{name}.cka")
        assert (cka["effect"], cka["margin"]) == (pytest.approx(0.01), pytest.approx(0.08))
        assert cka["floor"] == pytest.approx(0.96)
        assert cka["p_tost"] < 0.001
        assert row(table, name)["verdict"] == SUPPORTED
        local_kept = judged(tmp_path, PlantedStudy({("knn", "base-rlvr"): 0.99}))
        assert row(local_kept, f"{name}.cka")["verdict"] == SUPPORTED
        assert row(local_kept, name)["verdict"] == CONTRADICTED
        assert row(local_kept, name)["reason"] == (
            "supported: cka +0.010 (margin 0.080); contradicted: knn −0.030"
        )
        global_changed = judged(tmp_path, PlantedStudy({("cka", "base-rlvr"): 0.80}))
        assert row(global_changed, f"{name}.cka")["verdict"] == CONTRADICTED

    def test_a_smaller_margin_decides_otherwise(self, tmp_path):
        name = "rlvr-keeps-global-changes-local.backbone.cka"
        table = judged(tmp_path, seed_spread=0.1)
        assert row(table, name)["margin"] == pytest.approx(0.004)
        assert row(table, name)["verdict"] == CONTRADICTED

    def test_what_one_seed_pair_alone_would_say_is_said(self, tmp_path):
        # SFT's seeds differ by 0.10, RLVR's by 0.04: margin 0.14, or 0.20 and 0.08
        name = "rlvr-keeps-global-changes-local.backbone"
        study = PlantedStudy({"base-rlvr": 0.85}, more_seeds={"sft-seeds": 0.90})
        table = judged(tmp_path, study)
        cka = row(table, f"{name}.cka")
        assert (cka["effect"], cka["margin"]) == (pytest.approx(0.08), pytest.approx(0.14))
        said = (
            "with one seed pair alone as the floor rlvr-seeds +0.1100 contradicted, "
            "sft-seeds +0.0500 supported: the verdict hangs on which seed pairs are the floor"
        )
        assert cka["verdict"] == SUPPORTED
        assert said in cka["reason"]
        assert f"cka: {said}" in row(table, name)["reason"]
        assert "floor: rlvr.s0 ~ rlvr.s1, sft.s0 ~ sft.s1;" in cka["conditional_on"]
        knn = row(table, f"{name}.knn")
        assert knn["reason"].endswith("rlvr-seeds +0.1100 supported, sft-seeds +0.0500 supported")
        assert "knn: with one" not in row(table, name)["reason"]
        assert "one seed pair alone" not in row(judged(tmp_path), f"{name}.cka")["reason"]

    def test_what_rounding_leaves_is_no_difference(self, tmp_path):
        # 0.1 + 0.2 is not 0.3 exactly
        same = {"base-sft-emb": 0.1 + 0.2, "base-sft": 0.3}
        table = judged(tmp_path, PlantedStudy(same, noise=0.0))
        found = row(table, "contrastive-realigns-basis.sft.correlation")
        assert (found["effect"], found["se"], found["p"]) == (0.0, 0.0, 1.0)
        assert found["verdict"] == INCONCLUSIVE

    def test_realignment_is_that_of_the_models_behind_the_embedding_models(self, tmp_path):
        planted = {("knn", "base-sft-emb"): 0.50}
        table = judged(tmp_path, PlantedStudy(planted))
        found = row(table, "contrastive-realigns-basis.sft.correlation")
        assert (found["verdict"], found["effect"]) == (SUPPORTED, pytest.approx(0.10))
        assert "base ~ sft.s0" in found["conditional_on"]
        assert "sft.s1" not in found["conditional_on"]
        assert row(table, "contrastive-realigns-basis.sft")["verdict"] == SUPPORTED
        risen = judged(tmp_path, PlantedStudy())
        assert row(risen, "contrastive-realigns-basis.sft.knn")["verdict"] == CONTRADICTED

    def test_realignment_needs_the_parents_of_the_models(self, tmp_path):
        table = judged(tmp_path, dose=pd.DataFrame())
        found = row(table, "contrastive-realigns-basis.sft.correlation")
        assert found["verdict"] == NOT_APPLICABLE
        assert "whose two backbones are compared too" in found["reason"]

    @pytest.mark.parametrize(("value", "verdict"), [(0.79, SUPPORTED), (0.71, CONTRADICTED)])
    def test_realignment_by_half_of_the_steps(self, tmp_path, value, verdict):
        # from 0.70 to 0.80: half of it is 0.05
        steps = {("base-sft-emb", 10): 0.70, ("base-sft-emb", 50): value, ("base-sft-emb", 75): 0.8}
        table = judged(tmp_path, PlantedStudy(steps=steps), final_step=100)
        found = row(table, "realignment-early.sft.correlation")
        assert found["verdict"] == verdict
        assert found["effect"] == pytest.approx(value - 0.75)
        assert f"{(value - 0.7) / 0.1:.2f} of the realignment by step 50 of 100" in found["reason"]
        assert row(table, "realignment-early.rlvr")["verdict"] == NOT_APPLICABLE

    def test_without_a_realignment_nothing_is_early(self, tmp_path):
        study = PlantedStudy({"base-sft-emb": 0.60}, steps={("base-sft-emb", 50): 0.65})
        found = row(judged(tmp_path, study, final_step=100), "realignment-early.sft.correlation")
        assert found["verdict"] == NOT_APPLICABLE
        assert "no realignment to be early or late: −0.1000" in found["reason"]

    def test_without_checkpoints_nothing_is_said_of_when(self, tmp_path):
        assert row(judged(tmp_path), "realignment-early.sft")["verdict"] == NOT_APPLICABLE

    def test_readout_after_rlvr_and_sft(self, tmp_path):
        found = row(judged(tmp_path), "readout-transfers.backbone")
        assert found["verdict"] == SUPPORTED
        assert found["reason"] == (
            "supported: probe-effect +0.010 (margin 0.080), probe-change +0.250"
        )

    def test_how_far_a_margin_reaches_is_said_and_that_it_may_reach_chance(self, tmp_path):
        name = "readout-transfers.backbone"
        # the floor's distance is 0.04: at most 0.04 + 0.08 from 1
        reason = row(judged(tmp_path), f"{name}.probe-effect")["reason"]
        assert reason.endswith(
            "margin: 2 times the distance of the seed pairs, 1 − 0.960; the margin lets the "
            "similarity fall to 0.880 (chance 0.100)"
        )
        # two seeds at 0.70: the margin is 0.6, and chance is 0.1
        lax = judged(tmp_path, PlantedStudy({("probe", "rlvr-seeds"): 0.70}))
        assert row(lax, f"{name}.probe-effect")["verdict"] == INCONCLUSIVE
        assert row(lax, f"{name}.probe-effect")["p_tost"] < 0.001
        said = "fall to 0.100, no higher than chance, so that hardly anything could exceed it"
        assert said in row(lax, f"{name}.probe-effect")["reason"]
        assert f"probe-effect: the margin lets the similarity {said}" in row(lax, name)["reason"]
        assert "no higher than chance" not in row(judged(tmp_path), name)["reason"]

    def test_layers_differ_or_it_is_open(self, tmp_path):
        sloped = judged(tmp_path, PlantedStudy(slope=0.01))
        found = row(sloped, "layers-differ.backbone.correlation")
        assert found["verdict"] == SUPPORTED
        assert found["effect"] == pytest.approx(-0.02)
        assert "of 3 differences layer 1 − layer 3 is the clearest" in found["reason"]
        flat = judged(tmp_path, PlantedStudy(noise=1e-2))
        assert row(flat, "layers-differ.backbone.correlation")["verdict"] == INCONCLUSIVE

    def test_architectures_are_compared_within_a_kind_where_there_are_several(self, tmp_path):
        study = PlantedStudy()
        one = judged(tmp_path, study, architectures={"base-sft": "a", "base-rlvr": "b"})
        found = row(one, "architectures-differ.backbone.cka")
        assert found["verdict"] == NOT_APPLICABLE
        assert "are of one architecture" in found["reason"]
        for each in study.rows:
            if each["pair"] == "base-rlvr":
                each["kind"] = "sft"
        names = {"base-sft": "a", "base-rlvr": "b"}
        found = row(
            judged(tmp_path, study, architectures=names), "architectures-differ.backbone.cka"
        )
        assert (found["verdict"], found["effect"]) == (SUPPORTED, pytest.approx(-0.25))
        assert "sft, a − b" in found["reason"]

    def test_without_seed_pairs_there_is_no_floor_and_no_margin(self, tmp_path):
        study = PlantedStudy()
        study.rows = [one for one in study.rows if one["kind"] != "seed"]
        table = judged(tmp_path, study)
        found = row(table, "rlvr-keeps-global-changes-local.backbone")
        assert found["verdict"] == NOT_APPLICABLE
        part = row(table, "rlvr-keeps-global-changes-local.backbone.cka")["reason"]
        assert part == "not applicable: no pair of kind seed at the backbone stage, and so no floor"
        assert row(table, "sft-changes-geometry-more.backbone")["verdict"] == SUPPORTED

    def test_without_replicates_there_is_no_verdict(self, tmp_path):
        table = judged(tmp_path, replicates={})
        decided = table[table["source"] == "study"]["verdict"]
        assert set(decided) == {INCONCLUSIVE, NOT_APPLICABLE}
        reason = row(table, "sft-changes-function-more.backbone")["reason"]
        assert reason.startswith("+0.2500 without an interval")


class TestScores:
    def test_three_training_seeds_decide_where_they_are(self):
        # se 0.001, t(2): 90 % interval 0.001 ± 0.0029 within 0.005, not within 0.002
        rows = [
            (level, None, 0.001, se, 2, 3, margin)
            for margin in (0.002, 0.005)
            for level, se in (("seeds", 0.001), ("tasks", 0.1))
        ]
        table = claims_table(Evidence(differences=differences_table(rows)))
        wide = row(table, "rlvr-scores-equal.within-0.5-points")
        assert (wide["verdict"], wide["margin"], wide["n_seeds"]) == (SUPPORTED, 0.005, 3)
        assert wide["reason"].endswith("the suite's mean over 3 training seeds")
        narrow = row(table, "rlvr-scores-equal.within-0.2-points")
        assert narrow["verdict"] == INCONCLUSIVE
        needed = differences_table(rows).assign(units_needed=9)
        told = row(claims_table(Evidence(differences=needed)), narrow["id"])["reason"]
        assert told.endswith("9 would show a difference of 0 to be negligible (power 0.8)")

    def test_no_more_units_are_asked_for_than_there_are(self):
        # 0.018 ± 0.003 differs from 0; for a difference of 0 three seeds would do
        rows = [("seeds", None, 0.018, 0.001, 2, 3, 0.02)]
        needed = differences_table(rows).assign(units_needed=3)
        found = row(claims_table(Evidence(differences=needed)), "rlvr-scores-equal.within-2-points")
        assert found["verdict"] == INCONCLUSIVE
        assert "would show" not in found["reason"]

    def test_runs_and_doses_are_those_of_the_row_s_own_pair(self, tmp_path):
        rows = [("seeds", None, 0.001, 0.001, 2, 3, 0.02)]
        first = differences_table(rows)
        second = first.assign(pair="other-rlvr-emb")
        similarity = PlantedStudy().table()
        of_pair = similarity["pair"] == "base-rlvr-emb"
        more = similarity[of_pair].assign(
            pair="other-rlvr-emb", reference="base-emb.s0", candidate="far-emb.s0"
        )
        again = more.assign(reference="base-emb.s1", candidate="far-emb.s1")
        doses = [
            *DOSE,
            ("far", 0, "base", 0.5, 3.0),
            ("far-emb", 0, "far.s0", 0.09, None),
            ("far-emb", 1, "far.s0", 0.09, None),
        ]
        table = judged(
            tmp_path,
            similarity=pd.concat([similarity, more, again]),
            differences=pd.concat([first, second]),
            dose=dose_table(doses),
        )
        name = "rlvr-scores-equal.within-2-points"
        own, other = (
            row(table, f"{name}.{pair}.local") for pair in ("base-rlvr-emb", "other-rlvr-emb")
        )
        assert own["dose"] == "RLVR: weights 0.01, KL 0.02"
        assert other["dose"] == "RLVR: weights 0.5, KL 3"
        assert own["conditional_on"].endswith("runs base-emb.s0 ~ rlvr-emb.s0")
        assert other["conditional_on"].endswith(
            "runs base-emb.s0 ~ far-emb.s0, base-emb.s1 ~ far-emb.s1; "
            "seeds vary the last training alone, from far.s0 (2)"
        )

    def test_with_two_seeds_tasks_are_tested_and_it_is_said(self):
        rows = [
            ("seeds", None, 0.001, None, None, 2, 0.02),
            ("tasks", None, 0.001, 0.002, 6, 7, 0.02),
            ("tasks", 0, 0.05, 0.002, 6, 7, 0.02),
            ("items", 0, 0.001, 0.01, 300, 301, 0.02),
            ("items", 1, 0.001, 0.01, 300, 301, 0.02),
        ]
        table = claims_table(Evidence(differences=differences_table(rows)))
        found = row(table, "rlvr-scores-equal.within-2-points")
        assert (found["verdict"], found["effect"], found["n_seeds"]) == (SUPPORTED, 0.001, 2)
        assert found["reason"].endswith(
            "the suite's mean over 7 tasks, since there are fewer than 3 training seeds"
        )

    def test_two_seeds_and_one_task_cannot_be_tested(self):
        rows = [("seeds", None, 0.001, None, None, 2, 0.02)]
        table = claims_table(Evidence(differences=differences_table(rows)))
        found = row(table, "rlvr-scores-equal.within-2-points")
        assert found["verdict"] == NOT_APPLICABLE
        assert "neither three training seeds nor two tasks" in found["reason"]

    def test_tasks_that_the_mean_is_without_are_said(self):
        without = "without Two, where neither model is shown above chance"
        rows = differences_table([("seeds", None, 0.001, 0.001, 2, 3, 0.02)])
        noted = rows.assign(note=f"t over training seeds; {without}")
        name = "rlvr-scores-equal.within-2-points"
        found = row(claims_table(Evidence(differences=noted)), name)
        assert found["conditional_on"].endswith(f"held fixed; {without}")
        both = pd.concat([noted, rows.assign(suite="BRIGHT", note=None)])
        together = row(claims_table(Evidence(differences=both)), name)["conditional_on"]
        assert together.count("held fixed") == 2
        assert together.count(without) == 1

    def test_where_no_task_is_left_the_claim_does_not_apply_and_it_is_said_why(self):
        without = "without One, where neither model is shown above chance"
        reason = f"no mean over tasks: no task is left; {without}"
        rows = [(level, None, None, None, None, 3, 0.02) for level in ("seeds", "tasks")]
        table = claims_table(Evidence(differences=differences_table(rows).assign(note=reason)))
        found = row(table, "rlvr-scores-equal.within-2-points")
        assert found["verdict"] == NOT_APPLICABLE
        assert found["reason"] == f"not applicable: pair base-rlvr-emb, local: {reason}"

    def test_a_difference_beyond_the_margin_contradicts(self):
        rows = [("seeds", None, -0.10, 0.001, 2, 3, 0.02)]
        table = claims_table(Evidence(differences=differences_table(rows)))
        found = row(table, "rlvr-scores-equal.within-2-points")
        assert found["verdict"] == CONTRADICTED

    def test_several_suites_have_to_agree(self):
        one, other = (
            differences_table([("seeds", None, delta, 0.001, 2, 3, 0.02)]) for delta in (0.001, 0.1)
        )
        both = pd.concat([one, other.assign(suite="BRIGHT")])
        table = claims_table(Evidence(differences=both))
        name = "rlvr-scores-equal.within-2-points"
        assert row(table, name)["verdict"] == CONTRADICTED
        assert row(table, f"{name}.base-rlvr-emb.local")["verdict"] == SUPPORTED


class TestPublished:
    def test_rlvr_scores_of_table_1_by_hand(self):
        table = claims_table(Evidence(**published()))
        found = row(table, "rlvr-scores-equal.published.within-0.5-points")
        # the farthest: qwen3-4b on MTEB(Code), 0.67 ± 0.03 over 3 seeds: 0.67 ± 4.303 · 0.0173
        assert found["effect"] == pytest.approx(0.0067)
        assert found["ci_low"] == pytest.approx(0.0067 - 4.30265 * 0.0003 / 3**0.5, abs=1e-7)
        assert found["ci_low"] > 0.005
        assert found["verdict"] == CONTRADICTED
        assert "beyond the margin: qwen3-4b on MTEB(Code, v1)" in found["reason"]
        assert (found["n_pairs"], found["n_seeds"], found["margin"]) == (4, 3, 0.005)
        wide = row(table, "rlvr-scores-equal.published.within-1-points")
        assert wide["verdict"] == SUPPORTED

    def test_the_public_summary_is_contradicted_by_the_published_tables(self):
        table = claims_table(Evidence(**published()))
        found = row(table, "summary-sft-aligns-more.published")
        assert found["verdict"] == CONTRADICTED
        assert "wholly below the RLVR pairs in 4" in found["reason"]
        assert row(table, "sft-changes-representation-more.published")["verdict"] == SUPPORTED
        assert row(table, "sft-changes-geometry-more.published")["verdict"] == INCONCLUSIVE


class TestClaimsAsData:
    GOOD = (
        "- {id: a, claim: b, level: c, parts: [{contrast: scores, kind: rlvr, test: equivalence}]}"
    )

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("level: c, ", "", "level"),
            ("level: c", "level: c, more: d", "more"),
            ("contrast: scores", "contrast: score", "allowed are effect, change"),
            ("test: equivalence", "test: guess", "allowed are direction"),
            ("contrast: scores", "contrast: change, metric: ckaa", "no headline number"),
            ("test: equivalence", "test: direction, direction: up", "above 0 and below 0"),
        ],
    )
    def test_a_mistake_is_named_with_what_is_allowed(self, tmp_path, old, new, message):
        path = tmp_path / "claims.yaml"
        path.write_text(self.GOOD)
        assert len(read_claims(path)) == 1
        path.write_text(self.GOOD.replace(old, new))
        with pytest.raises(UserError, match=message):
            read_claims(path)
