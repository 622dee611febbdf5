"""The log in memory is the simulation's; the bench is shared by the files here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "simulation"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
