"""The trace memory: reasoning that execution has judged, kept in a folder and searched by similarity while scoring.

`TraceMemory` is the entrance. `gate.py` decides what may enter, `segments.py` writes the folder, `thought_embedder.py`
turns a thought into a vector, `index.py` searches. NumPy is imported only when a memory is opened.
Import from here: the modules inside are private.
"""

from finer_rewards.memory.embedders import Embedder, HashingEmbedder, embedder_from
from finer_rewards.memory.gate import AdmissionReport, Decision, Gate
from finer_rewards.memory.manifest import as_made
from finer_rewards.memory.trace import Trace, database_id
from finer_rewards.memory.trace_memory import TraceMemory
from finer_rewards.memory.verifying import Verification, repair_folder, verify_folder

__all__ = [
    "AdmissionReport",
    "Decision",
    "Embedder",
    "Gate",
    "HashingEmbedder",
    "Trace",
    "TraceMemory",
    "Verification",
    "as_made",
    "database_id",
    "embedder_from",
    "repair_folder",
    "verify_folder",
]
