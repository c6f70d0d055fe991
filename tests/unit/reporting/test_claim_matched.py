"""SFT against RLVR at one dose, between two checkpoints of the kind that diverged farther."""

import pytest
from planted_claims import DOSE, PlantedStudy, dose_table

from hrsa.reporting.claim_kinds import CONTRADICTED, INCONCLUSIVE, NOT_APPLICABLE, SUPPORTED
from hrsa.reporting.claims import claims_table

NAME = "sft-changes-geometry-more.backbone-matched"
# RLVR: similarity 0.95 at KL 0.02. SFT's KL is 0.005 at step 5 and 0.08 at step 10: 0.02 is midway.
DOSES = [("sft", 0, 5, 0.004, 0.005), ("sft", 0, 10, 0.016, 0.08)]


def judged(tmp_path, *, at_5, at_10, doses=DOSES, rows=DOSE, pair="base-sft", **planted):
    steps = {(pair, 5): at_5, (pair, 10): at_10}
    study = PlantedStudy(steps=steps, **planted)
    table = claims_table(study.evidence(tmp_path, dose=dose_table(rows, steps=doses)))
    return table.set_index("id")


@pytest.mark.parametrize(
    ("at_5", "at_10", "effect", "verdict"),
    [
        (0.94, 0.90, 0.03, SUPPORTED),
        (0.99, 0.97, -0.03, CONTRADICTED),
        (0.98, 0.90, 0.01, INCONCLUSIVE),  # −0.03 at the lower dose, +0.05 at the higher one
    ],
)
def test_it_is_read_between_the_checkpoints_and_has_to_hold_at_both(
    tmp_path, at_5, at_10, effect, verdict
):
    found = judged(tmp_path, at_5=at_5, at_10=at_10).loc[f"{NAME}.cka"]
    assert found["effect"] == pytest.approx(effect)
    assert found["verdict"] == verdict
    assert found["ci_low"] < effect < found["ci_high"]
    hangs = "the verdict hangs on what lies between them" in found["reason"]
    assert hangs == (verdict == INCONCLUSIVE)
    ends = f"{0.95 - at_5:+.4f} and {0.95 - at_10:+.4f} at the checkpoints below and above"
    assert ends.replace("-", "−") in found["reason"]


def test_models_and_doses_are_said(tmp_path):
    found = judged(tmp_path, at_5=0.94, at_10=0.90).loc[f"{NAME}.cka"]
    assert found["dose"] == (
        "RLVR: weights 0.01, KL 0.02; SFT: between KL 0.005, weights 0.004 (step 5) and KL 0.08, "
        "weights 0.016 (step 10), interpolated at this KL"
    )
    # sft.s1 keeps no checkpoints
    assert found["conditional_on"].startswith(
        "runs base ~ sft.s0, base ~ rlvr.s0, base ~ rlvr.s1 (1 training seed); "
    )
    assert found["conditional_on"].endswith("; both read at one dose")


def test_the_interval_is_joint(tmp_path):
    # the same replicates everywhere: no difference has an error
    table = judged(tmp_path, at_5=0.94, at_10=0.90, noise=0.0)
    assert table.loc[f"{NAME}.cka", "se"] == 0
    noisy = judged(tmp_path, at_5=0.94, at_10=0.90, noise=1e-2, seed=3)
    assert noisy.loc[f"{NAME}.cka", "se"] > 0


def test_rlvr_is_interpolated_where_it_diverged_farther(tmp_path):
    rows = [(*one[:4], {"sft": 0.02, "rlvr": 3.0}.get(one[0], one[4])) for one in DOSE]
    doses = [("rlvr", *one[1:]) for one in DOSES]
    found = judged(tmp_path, at_5=0.90, at_10=0.80, doses=doses, rows=rows, pair="base-rlvr").loc[
        f"{NAME}.cka"
    ]
    assert found["effect"] == pytest.approx(0.85 - 0.70)  # SFT at its end: 0.70
    assert found["verdict"] == SUPPORTED
    assert found["dose"].startswith("SFT: weights 0.11, KL 0.02; RLVR: between KL 0.005")


def test_a_checkpoint_at_the_very_dose_is_read_as_it_is(tmp_path):
    doses = [DOSES[0], ("sft", 0, 10, 0.016, 0.02)]
    found = judged(tmp_path, at_5=0.94, at_10=0.90, doses=doses).loc[f"{NAME}.cka"]
    assert found["effect"] == pytest.approx(0.05)


def test_the_end_is_a_point_too(tmp_path):
    doses = [("sft", 0, 5, 0.004, 0.001), ("sft", 0, 10, 0.016, 0.005)]
    rows = [(*one[:4], 0.08 if one[:2] == ("sft", 0) else one[4]) for one in DOSE]
    found = judged(tmp_path, at_5=0.99, at_10=0.94, doses=doses, rows=rows).loc[f"{NAME}.cka"]
    assert found["effect"] == pytest.approx(0.95 - (0.94 + 0.70) / 2)
    assert "KL 0.08, weights 0.1 (the end)" in found["dose"]


@pytest.mark.parametrize(
    ("doses", "rows", "said"),
    [
        (
            [("sft", 0, 5, 0.1, 0.04), ("sft", 0, 10, 0.2, 0.08)],
            DOSE,
            "sft.s0 diverges by 0.02 nats per token, the dose of the other kind, between no two "
            "checkpoints that are compared (step 5: 0.04, step 10: 0.08)",
        ),
        (
            DOSES,
            [(*one[:4], None if one[:2] == ("rlvr", 1) else one[4]) for one in DOSE],
            "the divergence of rlvr.s1 from its parent is not known",
        ),
    ],
)
def test_where_the_dose_is_not_reached_or_not_known_it_does_not_apply(tmp_path, doses, rows, said):
    found = judged(tmp_path, at_5=0.94, at_10=0.90, doses=doses, rows=rows).loc[f"{NAME}.cka"]
    assert found["verdict"] == NOT_APPLICABLE
    assert said in found["reason"]


def test_without_checkpoints_it_does_not_apply(tmp_path):
    table = claims_table(PlantedStudy().evidence(tmp_path)).set_index("id")
    assert table.loc[NAME, "verdict"] == NOT_APPLICABLE
    assert (
        "no checkpoint of the SFT pairs at the backbone stage is compared"
        in (table.loc[f"{NAME}.cka", "reason"])
    )
