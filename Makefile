# make demo   sets up .venv and builds Table 1 at demo scale; make test runs the tests; make help lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
CORES ?= 2
# Optional: the address of PyTorch's CPU wheel index, where pip is not set up to find a CPU wheel of torch by itself.
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
# the figures of docs/findings.md
FINDINGS := score_correlates.svg routing_sensitivity.svg appendix_b.svg figure5.svg
# runs whose records are shipped beside the demo's
RECORDED := $(filter-out demo development,$(patsubst resources/records/%/config.yaml,%,$(wildcard resources/records/*/config.yaml)))
GPU_STACK := .venv-gpu-stack
READY := $(VENV)/.ready
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' envs/cpu.lock)
# tests with a command of their own
HEAVY := container or faults or slurm or gpu_stack or pretrained
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
SNAKEMAKE := $(RUN) snakemake --cores $(CORES)

.PHONY: help setup demo smoke laptop development laptop-webshop laptop-llama control learning pretrained findings records replay pack-records pack-pretrained pack-laptop test test-pretrained test-container test-faults test-slurm slurm-sandbox gpu-stack lint format report docs sbom backbones lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

setup: $(READY) ## create .venv from the lock (nothing is done when it is up to date)

# Bytecode is compiled here: every job starts Python anew, and where PYTHONDONTWRITEBYTECODE is set none is ever kept.
# torch comes first and through pip: PyPI's default build of that version brings gigabytes of CUDA libraries.
$(READY): envs/cpu.lock envs/bootstrap.lock pyproject.toml
	@test ! -L $(VENV) || { echo "setup: $(VENV) is a link to another checkout's; remove it, or call its programs directly"; exit 1; }
	@$(PYTHON) scripts/preflight.py
	@echo "setup: creating $(VENV): one to four minutes, about 3 GB on disk"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install --quiet --require-hashes -r envs/bootstrap.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r envs/cpu.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

demo: $(READY) ## build results/demo/tables/table1.csv from raw trajectories on two cores
	@$(SNAKEMAKE)
	@$(RUN) prism show results/demo/tables/table1.csv
	@head -n 3 results/demo/certificate.md

smoke: $(READY) ## every row of every table and every point of every figure once, with the fewest steps (about 1 h)
	@$(SNAKEMAKE) --configfile config/smoke.yaml
	@$(RUN) prism show results/smoke/tables/table1.csv

LAPTOP := $(SNAKEMAKE) --configfile config/laptop.yaml
OTHER_WORLDS := control laptop-webshop laptop-llama development

laptop: control ## tier 1 of docs/protocol.md: Table 1 of ALFWorld, Table 3, the positive control; goes on where it was stopped
	@$(LAPTOP)
	@$(RUN) prism show results/laptop/tables/table1.csv

development: $(READY) ## the games on which the protocol is settled: does training work, how far do trainings scatter?
	@$(LAPTOP) config/development.yaml
	@$(RUN) prism show results/development/tables/table1.csv

control: $(READY) ## the positive control alone: can this design tell routings apart?
	@$(LAPTOP) config/control.yaml
	@$(RUN) prism show results/control/tables/table1.csv

laptop-webshop: $(READY) ## tier 2: WebShop (Tables 2 to 4, Figures 3 and 4)
	@$(LAPTOP) config/laptop-webshop.yaml
	@$(RUN) prism show results/laptop-webshop/tables/table2.csv

laptop-llama: $(READY) ## tier 3: Table 1 with the second backbone
	@$(LAPTOP) config/laptop-llama.yaml
	@$(RUN) prism show results/laptop-llama/tables/table1.csv

# the probes that take longest
LONGEST := results/pretrained/{gradnorms,gradnorms_variants/conversation}/{webshop,alfworld}/SmolLM2-135M-Instruct/shard-{0,1}-of-2.parquet

pretrained: $(READY) ## what the score measures on a real language model of 135 million parameters (an hour and a half)
	@# a job that wants both cores would wait, one of them idle, until no probe of half an hour runs; nor should the
	@# last job be a long one
	@$(SNAKEMAKE) --configfile config/pretrained.yaml --set-threads expert_trajectories=1 sft=1 --prioritize $(LONGEST)
	@$(RUN) prism show results/pretrained/tables/routing_sensitivity.csv

records: $(READY) ## all shipped tables and figures again, of each scale, from its records alone, without torch
	@$(SNAKEMAKE) --snakefile records.smk
	@for run in $(RECORDED); do PRISM_RECORDS=$$run $(SNAKEMAKE) --snakefile records.smk || exit 1; done
	@$(RUN) prism show results/records/tables/table1.csv

replay: records

pack-records: $(READY) ## take the records that `make records` reads from the finished demo
	@$(RUN) prism stage pack-records --results results/demo --out resources/records/demo

pack-pretrained: $(READY) ## the same from a finished `make pretrained`
	@$(RUN) prism stage pack-records --results results/pretrained --out resources/records/pretrained

pack-laptop: $(READY) ## the same from `make laptop`, also while it is not finished; others then go on from the records
	@test ! -d results/laptop/eval || $(LAPTOP) -- pack_records
	@for world in $(OTHER_WORLDS); do \
	    test ! -d results/$$world/eval || $(LAPTOP) config/$$world.yaml -- pack_records || exit 1; \
	done

findings: $(READY) ## docs/findings.md and its figures again, from the shipped records, without torch
	@for run in pretrained laptop control; do PRISM_RECORDS=$$run $(SNAKEMAKE) --snakefile records.smk || exit 1; done
	@$(RUN) prism stage findings --results results/records-pretrained --paper resources/paper/v1 \
	  --model SmolLM2-135M-Instruct --scale pretrained --world results/records-laptop \
	  --control results/records-control --out docs/findings.md
	@mkdir -p docs/figures/findings
	@cd results/records-pretrained/figures && cp $(FINDINGS) $(CURDIR)/docs/figures/findings/
	@cp results/records-laptop/figures/forest.svg docs/figures/findings/world_forest.svg
	@cp results/records-control/figures/detection.svg docs/figures/findings/

learning: $(READY) ## Table 1 of base, SFT and SFT-then-RL on more held-out games (docs/learning.md)
	@$(SNAKEMAKE) --configfile config/learning.yaml
	@$(RUN) prism show results/learning/tables/table1.csv

test: $(READY) ## run the tests, but for the heavy ones below
	$(RUN) pytest -q -n $(CORES) --dist loadfile --no-loadscope-reorder -m "not ($(HEAVY))" tests

test-pretrained: $(READY) ## that model's gradient norms against float64 gradients of each sample (a few minutes, 6 GB)
	$(RUN) pytest -q -m pretrained tests/unit/gradients

test-container: $(READY) ## build the CPU image and a table in it; equal byte for byte to one built outside
	$(RUN) pytest -q -m container tests/container

test-faults: $(READY) ## kills at random moments, full disk, lost workers, two runs at once (up to half an hour)
	$(RUN) pytest -q -m faults tests/faults

test-slurm: $(READY) ## the SLURM profile against a real SLURM on this machine; needs root
	$(RUN) pytest -q -m slurm tests/slurm

slurm-sandbox: ## start that SLURM alone, to try things; scripts/slurm_sandbox.py says more
	$(PYTHON) scripts/slurm_sandbox.py up

gpu-stack: $(READY) ## tests of vLLM and DeepSpeed on a CPU, in an environment of their own (2 GB, ten minutes)
	test -x $(GPU_STACK)/bin/python || $(PYTHON) -m venv $(GPU_STACK)
	$(GPU_STACK)/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(GPU_STACK)/bin/python -m pip install --quiet --require-hashes -r envs/bootstrap.lock
	DS_BUILD_OPS=0 $(BIN)/uv pip install --quiet --python $(GPU_STACK)/bin/python --no-deps \
	  --require-hashes -r envs/gpu-stack.lock
	$(RUN) PRISM_GPU_STACK=$(CURDIR)/$(GPU_STACK) pytest -q tests/gpu_stack

lint: $(READY) ## ruff, snakefmt, snakemake --lint
	$(RUN) ruff check . && $(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile records.smk rules resources/backbones/Snakefile tests/slurm tests/rules
	$(RUN) snakemake --lint

format: $(READY) ## format Python and rules
	$(RUN) ruff check --fix . && $(RUN) ruff format . && $(RUN) snakefmt Snakefile records.smk rules resources/backbones/Snakefile tests/slurm tests/rules

report: $(READY) ## one HTML file with every table, figure and runtime of the finished demo
	@$(SNAKEMAKE) --report results/demo/report.html

docs: $(READY) ## the documentation with the code's reference, as a site in site/; a warning is an error
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --strict

sbom: $(READY) ## the software bill of materials of .venv (CycloneDX)
	$(RUN) cyclonedx-py environment --output-reproducible --output-file sbom.json $(VENV)

backbones: $(READY) ## train the tiny backbones of resources/backbones again (about 20 min)
	@$(SNAKEMAKE) --snakefile resources/backbones/Snakefile --forceall

lock: $(READY) ## renew envs/*.lock and the conda files from envs/*.in (UPGRADE=1 takes newer versions)
	$(RUN) python scripts/lock.py $(if $(UPGRADE),--upgrade)

clean: ## delete the demo's results, not the environment
	rm -rf results/demo
