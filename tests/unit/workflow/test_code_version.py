"""The code version changes with the code that a script runs, and with nothing else."""

from pathlib import Path

import pytest

from hrsa_workflow import code_version as module
from hrsa_workflow.code_version import code_version, imported_modules, module_file

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "workflow" / "scripts"

FILES = {
    "hrsa/__init__.py": '"""Top."""\n',
    "hrsa/similarity/__init__.py": '"""Metrics."""\nfrom hrsa.similarity.cka import linear_cka\n',
    "hrsa/similarity/cka.py": "from hrsa.similarity.arrays import check\n\n"
    'def linear_cka(X):\n    """CKA."""\n    return check(X)  # the value\n',
    "hrsa/similarity/arrays.py": "def check(X):\n    return X\n",
    "hrsa/similarity/knn.py": "def overlap(X):\n    from .arrays import check\n"
    "    return check(X)\n",
    "hrsa_workflow/__init__.py": "",
    "hrsa_workflow/job.py": "def job():\n    pass\n",
    "scripts/cka.py": "from hrsa_workflow.job import job\n"
    "with job():\n    from hrsa.similarity.cka import linear_cka\n",
    "scripts/knn.py": "with open('x'):\n    from hrsa.similarity import knn\n",
    "scripts/arrays.py": "import hrsa.similarity.arrays\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def version(tree, script):
    for function in (code_version, module._imports, module._text, module._tree):
        function.cache_clear()
    return code_version(tree / "scripts" / script, tree)


def edit(tree, name, old, new):
    file = tree / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# the value", "# another remark"),
        ('"""CKA."""', '"""Linear centred kernel alignment."""'),
        ("return check(X)", "return   check( X )"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tree, old, new):
    before = version(tree, "cka.py")
    edit(tree, "hrsa/similarity/cka.py", old, new)
    assert version(tree, "cka.py") == before


def test_an_edit_of_a_module_changes_the_scripts_that_import_it_and_no_other(tree):
    before = {name: version(tree, name) for name in ("cka.py", "knn.py", "arrays.py")}
    edit(tree, "hrsa/similarity/cka.py", "return check(X)", "return 2 * check(X)")
    assert version(tree, "cka.py") != before["cka.py"]
    assert version(tree, "knn.py") == before["knn.py"]
    assert version(tree, "arrays.py") == before["arrays.py"]


def test_an_edit_of_a_shared_module_is_seen_through_every_import(tree):
    names = ("cka.py", "knn.py", "arrays.py")  # transitive, inside a function, as `import a.b`
    before = {name: version(tree, name) for name in names}
    edit(tree, "hrsa/similarity/arrays.py", "return X", "return X + 1")
    assert all(version(tree, name) != before[name] for name in names)


def test_the_text_of_a_package_counts_and_is_not_followed(tree):
    before = version(tree, "knn.py")
    edit(tree, "hrsa/similarity/cka.py", "return check(X)", "return 2 * check(X)")
    assert version(tree, "knn.py") == before
    edit(tree, "hrsa/similarity/__init__.py", "import linear_cka", "import linear_cka as cka")
    assert version(tree, "knn.py") != before


def test_the_script_itself_counts(tree):
    before = version(tree, "arrays.py")
    edit(tree, "scripts/arrays.py", "arrays\n", "arrays\nprint(1)\n")
    assert version(tree, "arrays.py") != before


def test_how_a_job_logs_does_not_count(tree):
    before = version(tree, "cka.py")
    edit(tree, "hrsa_workflow/job.py", "pass", "print()")
    assert version(tree, "cka.py") == before


def test_a_name_imported_from_a_package_is_refused(tree):
    (tree / "scripts" / "bad.py").write_text("from hrsa.similarity import linear_cka\n")
    with pytest.raises(ValueError, match=r"line 1: `hrsa.similarity.linear_cka` is imported from"):
        version(tree, "bad.py")


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_every_script_of_the_workflow_has_a_version(script):
    assert len(code_version(SCRIPTS / script)) == 16
    assert all(module_file(name).exists() for name in imported_modules(SCRIPTS / script))


def test_metric_jobs_need_no_other_metric_and_no_model():
    for metric in ("correlation", "cka", "knn", "probe", "procrustes"):
        modules = imported_modules(SCRIPTS / f"{metric}.py")
        assert not any(name.startswith(("hrsa.models.", "hrsa.figures.")) for name in modules)
    assert "hrsa.similarity.cka" not in imported_modules(SCRIPTS / "knn.py")
    assert "hrsa.similarity.cka" not in imported_modules(SCRIPTS / "extract.py")
