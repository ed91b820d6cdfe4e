"""The Python behind ./fleet: the throwaway lab, the runner of playbooks, and the tests' runner."""

import sys
from pathlib import Path

# The package `fleet`, which modules and the hosts' programs share.
sys.path.append(str(Path(__file__).resolve().parents[1] / "module_utils"))
