"""`python -m ner_lightning`: the same as the `ner-lightning` command."""

import sys

from ner_lightning.commands.main import main

sys.exit(main())
