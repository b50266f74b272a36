"""
Resume a fit that was killed
============================

A long fit should survive a power cut. With ``checkpoint`` the state of the training is on disk,
whole or not at all. This example kills a fit without warning, runs the same lines again, and
compares the result with that of a fit that was never disturbed.
"""

# %%
# A job
# -----
# A script as one would submit it. ``resume=True`` goes on from what the folder holds, and begins
# where it holds nothing: the script need not know whether it is run for the first time.

import tempfile
from pathlib import Path

job = """
import sys

from sklearn.datasets import make_friedman1

from finetune_tabpfn import Checkpoint, FinetunedTabPFNRegressor

folder, steps = sys.argv[1:]
X, y = make_friedman1(n_samples=250, n_features=5, noise=0.5, random_state=0)
model = FinetunedTabPFNRegressor(
    base_model="mini",
    max_steps=int(steps),
    eval_interval=5,
    n_estimators=1,
    random_state=0,
    checkpoint=Checkpoint(f"{folder}/state", resume=True),
    loggers="jsonl",
    log_dir=folder,
)
model.fit(X, y)
model.save_model(f"{folder}/model-v3.safetensors")
print(model.n_steps_, "steps, score", model.best_score_)
"""
folder = Path(tempfile.mkdtemp())
script = folder / "job.py"
script.write_text(job)

# %%
# Kill it
# -------
# As soon as its log says that 15 steps are behind it, the process gets what a ``kill -9`` sends.
# It has no chance to tidy up.

import json
import subprocess
import sys
import time

STEPS = 40


def steps_in_the_log(log):
    """Return how many steps a log that may still be written has seen."""
    lines = log.read_text().splitlines() if log.exists() else []
    return max((json.loads(line).get("step", 0) for line in lines if line.endswith("}")), default=0)


def command(name):
    """Return the command that runs the job in a folder of its own."""
    return [sys.executable, str(script), str(folder / name), str(STEPS)]


killed = subprocess.Popen(command("killed"))
while steps_in_the_log(folder / "killed" / "log.jsonl") < 15:
    time.sleep(0.02)
killed.kill()
killed.wait()
print("killed after step", steps_in_the_log(folder / "killed" / "log.jsonl"))
print("on disk:", sorted(str(p.relative_to(folder)) for p in folder.glob("killed/state/**/*.*")))

# %%
# Run the same command again
# --------------------------

again = subprocess.run(command("killed"), capture_output=True, text=True, check=True)
print(again.stdout)

# %%
# The log goes on where it was cut: the fit did not begin anew.

log = (folder / "killed" / "log.jsonl").read_text().splitlines()
for record in map(json.loads, log):
    if record["event"] == "fit":
        print("fit begins,", "resumed" if record["resumed"] else "new")

# %%
# Is it the same?
# ---------------
# A split of the training is a function of the seed and the step, so that nothing depends on how
# often the fit was interrupted. On a CPU the weights agree to the last bit.

whole = subprocess.run(command("whole"), capture_output=True, text=True, check=True)
print(whole.stdout)

import numpy as np
from safetensors.numpy import load_file

one, other = (load_file(folder / name / "model-v3.safetensors") for name in ("killed", "whole"))
same = all(np.array_equal(one[name], other[name]) for name in other)
print(f"{len(other)} tensors, bitwise the same: {same}")

# %%
# The folder belongs to this fit: with other rows, parameters or another base model it is refused,
# in a sentence that says in what they differ. ``max_steps`` and ``time_limit`` may change, so a
# fit that was ended too early can be given more.

import shutil

shutil.rmtree(folder)
