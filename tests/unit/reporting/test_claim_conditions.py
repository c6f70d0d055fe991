"""What a verdict hangs on, in words."""

from hrsa.reporting.claim_conditions import by_dataset, hanging_on_floor
from hrsa.reporting.claim_kinds import CONTRADICTED, SUPPORTED, Verdict


def test_hyphens_of_names_are_no_minus_signs():
    kept, gone = Verdict(SUPPORTED, ""), Verdict(CONTRADICTED, "")
    said = hanging_on_floor({"qwen3-0.6b-seeds": (-0.02, kept), "ds-1.5b-seeds": (0.01, gone)})
    assert "qwen3-0.6b-seeds \N{MINUS SIGN}0.0200 supported, ds-1.5b-seeds +0.0100" in said
    numbers = by_dataset({"gsm8k-0": -0.5, "topics": 0.25})
    assert numbers.startswith("mean of gsm8k-0 \N{MINUS SIGN}0.5000 and topics +0.2500")
