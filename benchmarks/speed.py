"""Speed of training, log density and sampling, one JSON line.

Log density and sampling are timed on one thread and on two, each in its own process; peers run in the same
program on one thread: a PyTorch mixture of equal size (``--peer torch``), and zuko's autoregressive spline flow
(``--peer zuko-nsf``). Medians of several runs; compare ratios, not seconds.

    python benchmarks/speed.py
    python benchmarks/speed.py --peer torch --peer zuko-nsf
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

BATCHES = (10_000, 100_000)
HIDDEN, N_COMPONENTS = (64, 64), 20


def median_rate(function, n: int, repeats: int = 7) -> float:
    """Events per second, median of several calls after two to warm up."""
    import numpy as np

    seconds = []
    for number in range(repeats + 2):
        start = time.perf_counter()
        function()
        if number >= 2:
            seconds.append(time.perf_counter() - start)
    return round(n / float(np.median(seconds)))


def measure_density() -> dict:
    """Rates of a density with random weights on the toy's observables."""
    import numpy as np

    from zfit_egmm.coordinates.projection import build_projection
    from zfit_egmm.coordinates.theta import ThetaScaling
    from zfit_egmm.demo import toy
    from zfit_egmm.families.egmm.autoregressive import Autoregressive
    from zfit_egmm.families.egmm.density import MixtureDensity
    from zfit_egmm.families.egmm.networks import SmoothNetwork

    sample = toy.grid_sample(200, seed=1)
    network = SmoothNetwork(HIDDEN, N_COMPONENTS)
    ranges = ((-5.0, 5.0),) * 4
    scaling = ThetaScaling.from_values(sample.theta)
    projections = tuple(build_projection(o, sample.column(o.name)) for o in sample.observables)
    autoregressive = Autoregressive(sample.observables, network, scaling.n_theta, ranges, projections)
    weights = autoregressive.initial_weights(np.random.default_rng(0))
    density = MixtureDensity(
        sample.observables,
        sample.theta_names,
        scaling,
        network=network,
        projections=projections,
        latent_ranges=ranges,
        weights=weights,
    )
    theta = np.array([0.3, -0.2])
    rates = {}
    for n in BATCHES:
        x = density.sample(n, theta, seed=1)
        rates[f"log_prob_{n}"] = median_rate(lambda x=x: density.log_prob(x, theta), n)
        rates[f"sample_{n}"] = median_rate(lambda n=n: density.sample(n, theta, seed=2), n)
    return rates


def measure_training() -> dict:
    """Seconds per million events and epoch of the standard network, compilation left out."""
    from zfit_egmm import MixtureSettings, TrainingConfig, train
    from zfit_egmm.demo import toy
    from zfit_egmm.families.egmm.networks import SmoothNetwork

    sample = toy.grid_sample(5000, seed=1)
    result = {}
    for hidden in ((64, 64), (96, 96)):
        config = TrainingConfig(
            epochs=20, batch_size=4096, model=MixtureSettings(SmoothNetwork(hidden, 20)), stop_patience=100
        )
        rows = train(sample, config, progress=False).training["history"]
        seconds = (rows[-1]["seconds"] - rows[0]["seconds"]) / (len(rows) - 1)
        result[f"train_s_per_1e6_events_and_epoch_{hidden[0]}"] = round(seconds / (0.85 * sample.n_events) * 1e6, 2)
    return result


def measure_torch() -> dict:
    """Rates of a plain PyTorch mixture of the same size, float32, no truncation, one thread."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = [
        torch.nn.Sequential(
            torch.nn.Linear(2 + i, HIDDEN[0]),
            torch.nn.SiLU(),
            torch.nn.Linear(HIDDEN[0], HIDDEN[1]),
            torch.nn.SiLU(),
            torch.nn.Linear(HIDDEN[1], 3 * N_COMPONENTS),
        )
        for i in range(4)
    ]

    def head(i, u, theta):
        logit, mean, width = networks[i](torch.cat([theta, u[:, :i]], 1)).chunk(3, 1)
        return logit, mean, torch.nn.functional.softplus(width) + 1e-4

    @torch.no_grad()
    def log_prob(u, theta):
        total = 0
        for i in range(4):
            logit, mean, width = head(i, u, theta)
            pull = (u[:, i : i + 1] - mean) / width
            terms = torch.log_softmax(logit, 1) - 0.5 * pull**2 - torch.log(width) - 0.9189385
            total = total + torch.logsumexp(terms, 1)
        return total

    @torch.no_grad()
    def sample(n, theta):
        u = torch.empty(n, 0)
        for i in range(4):
            logit, mean, width = head(i, u, theta)
            chosen = torch.distributions.Categorical(logits=logit).sample()[:, None]
            drawn = mean.gather(1, chosen) + width.gather(1, chosen) * torch.randn(n, 1)
            u = torch.cat([u, drawn], 1)
        return u

    rates = {}
    for n in BATCHES:
        u = torch.tensor(np.random.default_rng(0).uniform(-3, 3, (n, 4)), dtype=torch.float32)
        theta = torch.tensor([[0.3, -0.2]]).repeat(n, 1)
        rates[f"log_prob_{n}"] = median_rate(lambda u=u, theta=theta: log_prob(u, theta), n)
        rates[f"sample_{n}"] = median_rate(lambda n=n, theta=theta: sample(n, theta), n)
    return rates


def measure_nsf() -> dict:
    """Rates of zuko's autoregressive spline flow as in ``density.py``, float32, one thread."""
    import torch
    import zuko

    torch.set_num_threads(1)
    torch.manual_seed(0)
    flow = zuko.flows.NSF(4, context=2, transforms=3, bins=8, hidden_features=HIDDEN)
    rates = {}
    with torch.no_grad():
        distribution = flow(torch.tensor([0.3, -0.2]))
        for n in BATCHES:
            u = distribution.sample((n,))
            rates[f"log_prob_{n}"] = median_rate(lambda u=u: distribution.log_prob(u), n)
            rates[f"sample_{n}"] = median_rate(lambda n=n: distribution.sample((n,)), n)
    return rates


def in_child(what: str, threads: int) -> dict:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--child", what, "--threads", str(threads)]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


PEERS = {"torch": measure_torch, "zuko-nsf": measure_nsf}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=list(PEERS), action="append", default=[], help="may be repeated")
    parser.add_argument("--child", choices=["density", "training", *PEERS], help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        if arguments.child not in PEERS:
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
            tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
        measure = {"density": measure_density, "training": measure_training, **PEERS}
        print(json.dumps(measure[arguments.child]()))
        return
    result = {f"threads_{threads}": in_child("density", threads) for threads in (1, 2)}
    result["training_threads_2"] = in_child("training", 2)
    for name in arguments.peer:
        peer = in_child(name, 1)
        ratios = {what: round(rate / peer[what], 2) for what, rate in result["threads_1"].items()}
        result.setdefault("peer", {})[name] = {**peer, "ratio_one_thread": ratios}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
