"""``python -m finetune_tabpfn``: the command line."""

import sys

from finetune_tabpfn.cli import main

if __name__ == "__main__":
    sys.exit(main())
