"""The plain TabPFN estimators that ours are held against."""

import torch


def plain(kind, model_path, **parameters):
    """Build a TabPFNClassifier or TabPFNRegressor that predicts in float32, as ours do on a CPU.

    tabpfn's own ``inference_precision="auto"`` is bfloat16 on processors with units for it, which
    moves a probability by .01: there it would be two precisions that are compared.
    """
    settings = {"device": "cpu", "random_state": 0, "inference_precision": torch.float32}
    return kind(model_path=str(model_path), **settings, **parameters)
