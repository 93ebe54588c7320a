"""The script for a borrowed card: what it writes, how it cuts parts off, what it skips; nothing here needs a card."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def gpu_check(monkeypatch):
    """The script as a module; its folder is on the path for this test alone."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import gpu_check

    return gpu_check


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


def write_answer(path: Path, state: str, **measured) -> str:
    """A program that answers as a part does."""
    answer = json.dumps({"state": state, "why": "", "measured": measured})
    return f"open({str(path)!r}, 'w').write({answer!r})"


def gone(process: int) -> bool:
    """Whether a process has ended; its entry may wait for somebody to read it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def check_of(gpu_check, folder: Path, limit: float = 540.0):
    return gpu_check.Check(folder / "check.json", folder, limit, True, {"rl": sys.executable, "sft": sys.executable})


def test_the_file_is_whole_after_each_part_and_says_what_failed(gpu_check, tmp_path):
    check = check_of(gpu_check, tmp_path)
    seen = tmp_path / "seen.json"
    copy = f"import shutil; shutil.copy({str(check.out)!r}, {str(seen)!r}); print('last words'); raise SystemExit(3)"
    good = write_answer(tmp_path / "good.answer.json", "ok", summary="all well")
    parts = (
        gpu_check.Part("good", 60, command=python(good)),
        gpu_check.Part("bad", 60, needs="good", command=python(copy)),
        gpu_check.Part("after", 60, needs="bad", command=python("")),
    )
    assert check.run(parts) is False
    during, report = json.loads(seen.read_text()), json.loads(check.out.read_text())
    # as a run that is cut off in its second part leaves it
    assert [(part["name"], part["state"]) for part in during["parts"]] == [("good", "ok"), ("bad", "running")]
    assert (during["finished"], report["finished"]) == (False, True)
    assert {"format", "started", "seconds", "limit_seconds", "machine", "cpu"} <= set(report)
    assert {"python", "cpus", "commit", "memory_gib"} <= set(report["machine"])
    first, second, third = report["parts"]
    assert first["measured"]["summary"] == "all well"
    assert {"seconds", "limit_seconds", "card_gib", "host_gib"} <= set(first)
    assert (second["state"], second["why"], second["last_lines"]) == ("failed", "ended with status 3", ["last words"])
    assert (third["state"], third["why"]) == ("skipped", "needs bad, which is failed")
    assert "all well" in gpu_check.summary(report)


def test_a_part_that_hangs_is_cut_off_with_all_it_started_and_others_go_on(gpu_check, tmp_path):
    # the limit of a part scales with the whole's: 20 of 540 seconds are 2 of 54
    check = check_of(gpu_check, tmp_path, limit=54.0)
    child = tmp_path / "child"
    answer = write_answer(tmp_path / "hangs.answer.json", "running", variants=[1])
    hangs = (
        f"{answer}\nimport signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        f"open({str(child)!r}, 'w').write(str(other.pid)); time.sleep(600)"
    )
    good = write_answer(tmp_path / "good.answer.json", "ok")
    parts = (gpu_check.Part("hangs", 20, command=python(hangs)), gpu_check.Part("good", 300, command=python(good)))
    gpu_check.runner.SECONDS_TO_END, kept = 1, gpu_check.runner.SECONDS_TO_END
    try:
        assert check.run(parts) is False
    finally:
        gpu_check.runner.SECONDS_TO_END = kept
    hung, other = json.loads(check.out.read_text())["parts"]
    assert (hung["state"], hung["limit_seconds"]) == ("cut off", 2.0)
    assert hung["why"] == "not done after 2 s"
    # what it had found by then stays
    assert hung["measured"] == {"variants": [1]}
    assert other["state"] == "ok"
    assert gone(int(child.read_text()))


def test_a_run_that_is_told_to_end_leaves_its_file_and_no_process(tmp_path):
    out, child = tmp_path / "check.json", tmp_path / "child"
    hangs = f"import os, time; open({str(child)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import gpu_check\n"
        f"gpu_check.PARTS = (gpu_check.Part('hangs', 400, command=(sys.executable, '-c', {hangs!r})),)\n"
        f"sys.exit(gpu_check.main(['--cpu', '--out', {str(out)!r}]))"
    )
    run = subprocess.Popen([sys.executable, "-c", program])
    while not (child.exists() and child.read_text()):
        assert run.poll() is None
        time.sleep(0.1)
    run.terminate()
    assert run.wait(timeout=60) == 128 + 15
    report = json.loads(out.read_text())
    assert (report["finished"], report["parts"][0]["state"]) == (False, "running")
    assert gone(int(child.read_text()))


def test_no_part_starts_when_the_time_is_over(gpu_check, tmp_path):
    check = check_of(gpu_check, tmp_path, limit=10.0)
    check.started = time.monotonic() - 9.5
    assert check.run((gpu_check.Part("late", 60, command=python("")),)) is True
    [part] = json.loads(check.out.read_text())["parts"]
    assert (part["state"], part["why"]) == ("skipped", "no time is left of 10 s")


def test_a_missing_package_skips_a_part_and_a_wrong_result_fails_it(gpu_check, tmp_path):
    """Through the parts' own entry, in a process of its own."""
    package = tmp_path / "gpu_parts_of_test"
    package.mkdir()
    (package / "absent.py").write_text(
        "from gpu_parts.common import require\ndef measure(place, found): require(['json', 'no_such_package'])\n"
    )
    (package / "wrong.py").write_text(
        "from gpu_parts.common import Unsound\n"
        "def measure(place, found):\n    found['weights'] = 0\n    raise Unsound('no weight moved')\n"
    )
    place = tmp_path / "place.json"
    place.write_text(json.dumps({"folder": str(tmp_path), "cpu": True, "card_gib": 0, "python": {}}))
    said = {}
    for name in ("absent", "wrong"):
        program = f"import gpu_parts; gpu_parts.__path__.append({str(package)!r}); from gpu_parts.__main__ import main"
        program += f"; from pathlib import Path; main({name!r}, Path({str(place)!r}), Path({str(tmp_path / name)!r}))"
        environment = {**os.environ, **gpu_check.variables(sys.executable)}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)
        said[name] = json.loads((tmp_path / name).read_text())
    assert said["absent"] == {"state": "skipped", "why": "not in this environment: no_such_package", "measured": {}}
    assert said["wrong"] == {"state": "failed", "why": "no weight moved", "measured": {"weights": 0}}


def test_it_does_not_begin_without_a_card_or_wheels_or_over_a_full_folder(gpu_check, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check.runner, "ask_card", lambda *fields: [])
    assert gpu_check.main(["--out", str(tmp_path / "a.json")]) == 2
    assert "gpu_check: card: nvidia-smi shows none" in capsys.readouterr().err
    assert gpu_check.main(["--cpu", "--wheels", str(tmp_path), "--out", str(tmp_path / "a.json")]) == 2
    assert "holds no wheel" in capsys.readouterr().err
    (tmp_path / "kept").write_text("")
    assert gpu_check.main(["--cpu", "--work", str(tmp_path), "--out", str(tmp_path / "a.json")]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert not (tmp_path / "a.json").exists()


def test_chosen_parts_bring_what_they_read(gpu_check):
    assert [part.name for part in gpu_check.chosen_parts(["sft"])] == ["inputs", "sft"]
    assert [part.name for part in gpu_check.chosen_parts(["environment"])] == ["environment"]
    assert gpu_check.chosen_parts([]) == gpu_check.PARTS
    # the most valuable first; none can use up the time of all others, though RL alone took 220 s to begin on a card
    assert [part.name for part in gpu_check.PARTS][:3] == ["inputs", "rl", "probe"]
    assert max(part.seconds for part in gpu_check.PARTS) <= gpu_check.LIMIT * 3 / 4


def make_wheel(folder: Path, name: str, version: str, tag: str = "py3-none-any") -> None:
    """A package of one module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as wheel:
        record = folder / "record"
        with record.open("w", newline="") as out:
            rows = csv.writer(out)
            for path, text in files.items():
                wheel.writestr(path, text)
                digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
                rows.writerow([path, f"sha256={digest}", len(text)])
            rows.writerow([f"{info}/RECORD", "", ""])
        wheel.write(record, f"{info}/RECORD")
        record.unlink()


@pytest.mark.slow
def test_an_environment_is_made_of_the_wheels_that_are_there(gpu_check, tmp_path):
    """What has no wheel, and what does not fit this machine, is left out and named."""
    lock = tmp_path / "some.lock"
    lock.write_text(
        "# a lock\ngpu-check.there==1.0 \\\n    --hash=sha256:00\ngpu-check-absent==2.0 \\\n    --hash=sha256:00\n"
        "gpu-check-foreign==3.0\n"
    )
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "gpu_check_there", "1.0")
    make_wheel(folder, "gpu_check_foreign", "3.0", "cp27-cp27m-win32")
    missing = gpu_check.wheels.install(folder, [lock], tmp_path / "environment")
    assert missing == {"gpu-check-absent": "no wheel", "gpu-check-foreign": "no wheel that fits this machine"}
    program = "import gpu_check_there; print(gpu_check_there.VERSION)"
    run = subprocess.run(
        [tmp_path / "environment/bin/python", "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "1.0"


def test_every_pin_of_the_locks_is_read(gpu_check):
    for role, known in {"rl": "vllm", "sft": "llamafactory"}.items():
        found = gpu_check.wheels.pins(gpu_check.wheels.lock_of(role))
        text = gpu_check.wheels.lock_of(role).read_text()
        assert len(found) == sum("==" in line and not line.startswith((" ", "#")) for line in text.splitlines())
        assert known in found
    assert gpu_check.wheels.pins(*gpu_check.wheels.files_of("rl"))["bergson"] == "2.5.1"


def test_a_sampler_with_the_first_weights_is_told_from_one_with_the_new(gpu_check):
    from gpu_parts.rl import follows

    # arithmetic alone, then weights that did not come, and steps too small to tell
    assert follows(0.02, 0.03, 0.8) == "yes"
    assert follows(0.02, 0.78, 0.8) == "no"
    assert follows(0.02, 0.05, 0.06) == "cannot tell"
    assert follows(0.02, float("nan"), 0.8) == "no"


def test_the_largest_shape_that_fits_is_probed(gpu_check):
    from gpu_parts.probe import shape_for

    assert [shape_for(gib) for gib in (79.6, 47.5, 23.9, 11.9)] == ["qwen3-8b", "qwen3-4b", "qwen3-1.7b", "qwen3-0.6b"]


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(tmp_path):
    """The product's own stages on tiny shapes: games, real verl, LLaMA-Factory, evaluation, the prober's comparison."""
    for package in ("alfworld", "verl", "llamafactory"):
        pytest.importorskip(package)
    out = tmp_path / "check.json"
    command = [sys.executable, ROOT / "scripts/gpu_check.py", "--cpu", "--limit", "14400", "--out", out]
    subprocess.run([*command, "--work", tmp_path / "work"], check=True, timeout=14400)
    report = json.loads(out.read_text())
    parts = {part["name"]: part for part in report["parts"]}
    assert {part["state"] for part in report["parts"]} == {"ok"}
    rl = parts["rl"]["measured"]
    assert len(rl["steps"]) == 3
    assert rl["weights"]["changed"] > 0
    assert rl["sha256"]["before"] != rl["sha256"]["after"]
    # sampler and trainer do the same arithmetic here, and the sampler has the weights of the last step
    assert all(step["log_prob_gap"] < 1e-3 for step in rl["steps"])
    assert rl["sampler_has_the_new_weights"] == "yes"
    assert {"naive", "prism"} <= {row["variant"][:5].strip(":") for row in parts["probe"]["measured"]["variants"]}
    assert parts["sft"]["measured"]["losses"][-1] > 0
    evaluation = parts["evaluation"]["measured"]
    assert (evaluation["episodes"], evaluation["broken"], evaluation["sampler"]) == (4, 0, "hf")
    assert "make gpu-stack" in evaluation["not_tried"]
    assert parts["environment"]["measured"]["rl"]["versions"]["verl"] == "0.9.1"
