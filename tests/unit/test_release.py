"""What a release says of itself agrees."""

import json
import re
import tomllib

import yaml

import prism


def test_one_version(root):
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    archive = json.loads((root / ".zenodo.json").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## (\S+)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE).group(1)
    assert {citation["version"], archive["version"], project["version"], newest} == {prism.__version__}
    assert f"git tag --annotate v{newest}" in (root / "CONTRIBUTING.md").read_text()
    assert (citation["title"], citation["license"]) == (archive["title"], archive["license"])


def test_the_certificate_names_files_that_the_workflow_makes(root):
    """Its targets are those of the demo's config, the audit and what every run has."""
    files = {entry["file"] for entry in yaml.safe_load((root / "codecheck.yml").read_text())["manifest"]}
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    made = {f"tables/{name}.csv" for name in config["targets"]["tables"]} | {
        f"tables/{name}_statistics.csv" for name in config["targets"]["tables"]
    }
    made |= {f"figures/{name}.svg" for name in config["targets"]["figures"]}
    made |= {"comparison.md", "claims.json", "ro-crate-metadata.json"}
    audit = {"results/audit/paper.csv", "results/audit/paper.md"}
    assert files - audit <= {f"{config['results']}/{name}" for name in made}
