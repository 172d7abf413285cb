"""The plant that these tests begin with; see flow_plant.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from flow_plant import copied, made, made_on_postgres, plant

__all__ = ["copied", "made", "made_on_postgres", "plant"]
