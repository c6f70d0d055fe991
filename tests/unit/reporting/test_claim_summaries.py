import pandas as pd
from planted_claims import PlantedStudy

from hrsa.reporting.claim_summaries import claims_summary
from hrsa.reporting.claims import CLAIM_COLUMNS, claims_table
from hrsa.reporting.report import write_report


def summary(tmp_path) -> pd.DataFrame:
    return claims_summary(claims_table(PlantedStudy().evidence(tmp_path)))


def test_each_claim_has_a_line_and_its_parts_have_none(tmp_path):
    table = summary(tmp_path)
    about = table[table["claim"].str.startswith("SFT changes the geometry")]
    assert list(about["tested on"]) == [
        "this study, backbone",
        "this study, backbone at one dose",
        "this study, embedding",
        "published numbers",
    ]
    assert list(about["verdict"][:2]) == ["supported", "not applicable"]
    assert about["why"].iloc[0] == "supported: cka +0.250, knn +0.250"


def test_numbers_and_doses_stand_beside_the_verdict(tmp_path):
    table = summary(tmp_path)
    function = table[table["claim"].str.startswith("SFT changes the function")].iloc[0]
    assert function["why"].startswith("+0.2500, 95 % interval [+0.24")
    assert function["conditional on"].endswith(
        "dose not matched; doses: SFT: weights 0.11, KL 2.5; RLVR: weights 0.01, KL 0.02"
    )
    scores = table.iloc[0]
    assert (scores["verdict"], scores["why"][:14]) == ("not applicable", "not applicable")


def test_margins_are_named():
    row = dict.fromkeys(CLAIM_COLUMNS) | {
        "id": "rlvr-scores-equal.published.within-0.5-points", "source": "published",
        "claim": "a", "verdict": "supported", "conditional_on": "b", "dose": "c",
    }  # fmt: skip
    (found,) = claims_summary(pd.DataFrame([row])).to_dict("records")
    assert found["tested on"] == "published numbers, within ±0.5 points"
    assert found["conditional on"] == "b; doses: c"


def test_without_claims_there_is_an_empty_table():
    assert claims_summary(pd.DataFrame(columns=list(CLAIM_COLUMNS))).empty


def test_the_page_shows_all_verdicts_open_and_links_to_them(tmp_path):
    table = summary(tmp_path)
    parts = {"figures": [], "tables": {}, "missing": [], "rerun": "snakemake"}
    path = tmp_path / "index.html"
    write_report(path, study={"name": "a", "scale": "full"}, claims=table, **parts)
    page = path.read_text(encoding="utf-8")
    section = page.partition('<section id="claims">')[2].partition("</section>")[0]
    assert 'href="#claims"' in page
    assert section.count("<tr>") == len(table) + 1
    assert "<details>" not in section
    write_report(path, study={"name": "a", "scale": "full"}, **parts)
    assert 'id="claims"' not in path.read_text(encoding="utf-8")
