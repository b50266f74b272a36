"""torch's AdamW without its compiler."""

from __future__ import annotations

import inspect
from typing import Any

import torch


class AdamW(torch.optim.AdamW):
    """torch's AdamW, which does not import torch's compiler: that alone takes one to four seconds.

    torch wraps these methods so that its compiler leaves them alone if ever something is compiled,
    and imports it to say so. Nothing is compiled here, so what is wrapped serves as it is.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make one update."""
        return inspect.unwrap(torch.optim.AdamW.step)(self, closure)
