"""Run one part of a benchmark in a process of its own, so that its number of threads holds.

The part prints one line of JSON last on its standard output; its standard error stream is passed through.

    result = run_child(__file__, ["--child", "density"], threads=1)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# OpenMP is for torch, the last two for TensorFlow; linear algebra of numpy has its own.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def run_child(program_path: str | Path, arguments: Sequence[str], threads: int) -> dict:
    """Run a Python program and return what it printed.

    Args:
        program_path: The program, usually ``__file__`` of the caller.
        arguments: Its command line.
        threads: Threads for OpenMP, linear algebra and TensorFlow.

    Raises:
        SystemExit: If the program fails; its own message was passed through before.
    """
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "ZFIT_DISABLE_TF_WARNINGS": "1",
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
    }
    command = [sys.executable, str(program_path), *arguments]
    process = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return json.loads(process.stdout.splitlines()[-1])


def limit_tensorflow(threads: int) -> None:
    """Set the threads of TensorFlow in this process; call it before anything is computed."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
