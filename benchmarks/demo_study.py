"""Run the demo with many seeds and report the pulls of the fitted values.

Every seed has its own split, trainings and pseudo-data. The pull of a parameter is its distance to the
injected value in units of the side of the Minos interval that faces it. The yields are injected as
fixed numbers, so their pulls are narrower than one; theta's are not Gaussian, because the likelihood
can have a minimum on either side of zero.

    python benchmarks/demo_study.py --seeds 20 --out study
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

COMMAND = "import sys; from zfit_egmm.cli import main; sys.argv = ['zfit-egmm'] + sys.argv[1:]; main()"


def pull(injected: float, fitted: dict[str, float]) -> float:
    side = fitted["upper"] - fitted["value"] if injected > fitted["value"] else fitted["value"] - fitted["lower"]
    return (fitted["value"] - injected) / side


def significance(result: dict) -> float:
    """Signed root of the profile likelihood ratio at the injected theta: Gaussian with width one in large samples."""
    profile = result["profile"]
    ratio = np.interp(result["injected"]["theta"], profile["theta"], profile["minus_two_delta_log_likelihood"])
    return float(np.sign(result["fitted"]["theta"]["value"] - result["injected"]["theta"]) * np.sqrt(ratio))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("demo_study"))
    arguments = parser.parse_args()
    results = []
    for seed in range(arguments.seeds):
        folder = arguments.out / f"seed_{seed}"
        if not (folder / "demo.json").exists():
            options = ["demo", "--seed", str(seed), "--out", str(folder), "--overwrite"]
            folder.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-c", COMMAND, *options], check=True, stdout=subprocess.DEVNULL)
        results.append(json.loads((folder / "demo.json").read_text()))
        print(f"seed {seed}: {results[-1]['fitted']['theta']}", file=sys.stderr, flush=True)
    summary = {}
    for name in results[0]["injected"]:
        pulls = np.array([pull(result["injected"][name], result["fitted"][name]) for result in results])
        summary[name] = {
            "mean_pull": round(float(pulls.mean()), 3),
            "spread_of_pulls": round(float(pulls.std(ddof=1)), 3),
            "largest_pull": round(float(np.abs(pulls).max()), 3),
            "within_interval": float(np.mean(np.abs(pulls) < 1)),
            "pulls": [round(float(value), 2) for value in pulls],
        }
    roots = np.array([significance(result) for result in results])
    summary["theta_likelihood_root"] = {
        "mean": round(float(roots.mean()), 3),
        "spread": round(float(roots.std(ddof=1)), 3),
        "largest": round(float(np.abs(roots).max()), 3),
        "values": [round(float(value), 2) for value in roots],
    }
    seconds = [sum(result["seconds"].values()) for result in results]
    print(
        json.dumps(
            {
                "seeds": len(results),
                "all_valid": all(result["valid"] for result in results),
                "median_seconds": round(float(np.median(seconds)), 1),
                **summary,
            }
        )
    )


if __name__ == "__main__":
    main()
