"""Where the documentation is, and the page of an estimator in it, which notebooks link to."""

from __future__ import annotations

import sys
from itertools import takewhile
from typing import Any

from finetune_tabpfn.utils._groups import in_groups

DOCUMENTATION = "https://finetune-tabpfn.readthedocs.io/en/latest/"


class LinksDocumentation:
    """Lets the HTML that scikit-learn shows of an estimator link to its page here."""

    _doc_link_module = "finetune_tabpfn"
    _doc_link_template = DOCUMENTATION + "api/generated/{public_name}.html"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Return what a notebook shows, with the parameters in groups."""
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if "text/html" in bundle:
            bundle["text/html"] = in_groups(bundle["text/html"])
        return bundle

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        """Return the name under which the estimator is documented: as it is imported."""
        name, parts = type(self).__name__, type(self).__module__.split(".")
        if name in sys.modules[self._doc_link_module].__all__:
            return {"public_name": f"{self._doc_link_module}.{name}"}
        package = takewhile(lambda part: not part.startswith("_"), parts)
        return {"public_name": ".".join([*package, name])}
