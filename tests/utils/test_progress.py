"""Progress bars."""

import subprocess
import sys

# what tqdm looks for in a notebook's kernel, and no widgets
NOTEBOOK = """
import sys, types, warnings
warnings.simplefilter("error")
sys.modules |= {name: types.ModuleType(name) for name in ("ipykernel", "ipykernel.zmqshell")}
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=object, __spec__=None)
sys.modules["ipywidgets"] = None
from finetune_tabpfn.utils._progress import tqdm
for _ in tqdm(range(3), desc="counting"):
    pass
"""


def test_a_notebook_without_widgets_gets_a_bar_of_text_and_no_warning():
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "counting: 100%" in done.stderr
    assert "Warning" not in done.stderr
