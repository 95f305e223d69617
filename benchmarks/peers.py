"""Other models of p(u | theta), trained with PyTorch on one thread within a given CPU time.

An autoregressive Gaussian mixture without the package's refinements, and two normalising flows of
zuko. All take latent coordinates u in [-5, 5] and theta scaled to [-1, 1], as NumPy arrays.

    peer = train_mixture(u, theta, cpu_seconds=300, seed=1)
    peer.log_prob(u, theta)

The learning rates given as defaults were the best of 0.001, 0.003 and 0.01 for the toy's 49 x 8000 events.
"""

from __future__ import annotations

import copy
import itertools
import math
import sys
import time

import numpy as np
import torch

# Peers are compared per CPU second; one thread wastes nothing.
torch.set_num_threads(1)
# The first optimiser imports another two seconds' worth of PyTorch, which belongs to no training.
torch.optim.Adam([torch.zeros(1, requires_grad=True)])

BATCH_SIZE, CHUNK_SIZE = 2048, 8192
HELD_OUT, MOST_HELD_OUT = 0.05, 20_000
WARM_UP = 0.03
CHECK_INTERVAL, CHECK_SHARE = 0.05, 0.05
MOST_GRADIENT = 10.0
LATENT_LIMIT = 5.0
LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Mixture(torch.nn.Module):
    """Product of one-dimensional Gaussian mixtures, one network each, without truncation.

    Args:
        n_latent: Number of latent coordinates.
        n_theta: Number of parameters.
        hidden: Units of the hidden layers.
        n_components: Gaussians per coordinate.
    """

    def __init__(self, n_latent: int, n_theta: int, hidden: tuple[int, ...], n_components: int) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList()
        for i in range(n_latent):
            sizes = (n_theta + i, *hidden)
            layers: list[torch.nn.Module] = []
            for n_in, n_out in itertools.pairwise(sizes):
                layers += [torch.nn.Linear(n_in, n_out), torch.nn.SiLU()]
            self.networks.append(torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 3 * n_components)))
        self.register_buffer("start", torch.linspace(-LATENT_LIMIT, LATENT_LIMIT, n_components))

    def head(self, i: int, u: torch.Tensor, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits, means and widths of coordinate i given the ones before."""
        logit, mean, width = self.networks[i](torch.cat([theta, u[:, :i]], 1)).chunk(3, 1)
        return logit, self.start + mean, torch.nn.functional.softplus(width) + 1e-4

    def log_prob(self, u: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(u))
        for i in range(len(self.networks)):
            logit, mean, width = self.head(i, u, theta)
            pull = (u[:, i : i + 1] - mean) / width
            terms = torch.log_softmax(logit, 1) - 0.5 * pull**2 - torch.log(width) - LOG_SQRT_2PI
            total = total + torch.logsumexp(terms, 1)
        return total

    def sample(self, theta: torch.Tensor) -> torch.Tensor:
        u = torch.empty(len(theta), 0)
        for i in range(len(self.networks)):
            logit, mean, width = self.head(i, u, theta)
            chosen = torch.distributions.Categorical(logits=logit).sample()[:, None]
            drawn = mean.gather(1, chosen) + width.gather(1, chosen) * torch.randn(len(theta), 1)
            u = torch.cat([u, drawn], 1)
        return u


class Flow(torch.nn.Module):
    """A conditional flow of zuko with the methods of :class:`Mixture`."""

    def __init__(self, flow: torch.nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def log_prob(self, u: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return self.flow(theta).log_prob(u)

    def sample(self, theta: torch.Tensor) -> torch.Tensor:
        return self.flow(theta).sample()


class Peer:
    """A trained model with NumPy arrays in and out.

    Args:
        model: A :class:`Mixture` or :class:`Flow`.
        summary: Its training in words.
    """

    def __init__(self, model: Mixture | Flow, summary: str) -> None:
        self.model, self.summary = model, summary

    @torch.no_grad()
    def log_prob(self, u: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Log density on the latent axes, computed in float32.

        Args:
            u: Shape ``(n_events, n_latent)``.
            theta: Shape ``(n_events, n_theta)``, or ``(n_theta,)`` for all events.

        Returns:
            Float64, shape ``(n_events,)``, nats.
        """
        parts = zip(_tensor(u).split(CHUNK_SIZE), _rows(theta, len(u)).split(CHUNK_SIZE), strict=True)
        return torch.cat([self.model.log_prob(*part) for part in parts]).numpy().astype(float)

    @torch.no_grad()
    def sample(self, n: int, theta: np.ndarray, seed: int) -> np.ndarray:
        """Latent coordinates, float32, shape ``(n, n_latent)``; theta as in :meth:`log_prob`."""
        torch.manual_seed(seed)
        return torch.cat([self.model.sample(part) for part in _rows(theta, n).split(CHUNK_SIZE)]).numpy()


def train_mixture(
    u: np.ndarray,
    theta: np.ndarray,
    *,
    cpu_seconds: float,
    seed: int,
    hidden: tuple[int, ...] = (100, 100),
    n_components: int = 20,
    learning_rate: float = 1e-2,
) -> Peer:
    """Train an autoregressive mixture.

    Args:
        u: Latent coordinates, shape ``(n_events, n_latent)``.
        theta: Scaled parameters, shape ``(n_events, n_theta)``.
        cpu_seconds: CPU time of the training.
        seed: Seed of the held-out events, the initial weights and the order of events.
        hidden: Units of the hidden layers.
        n_components: Gaussians per coordinate.
        learning_rate: Largest learning rate of Adam.
    """
    torch.manual_seed(seed)
    model = Mixture(u.shape[1], theta.shape[1], hidden, n_components)
    return _fit(model, u, theta, cpu_seconds=cpu_seconds, seed=seed, learning_rate=learning_rate)


def train_nsf(u: np.ndarray, theta: np.ndarray, *, cpu_seconds: float, seed: int, learning_rate: float = 3e-3) -> Peer:
    """Train an autoregressive neural spline flow; arguments as in :func:`train_mixture`."""
    import zuko

    torch.manual_seed(seed)
    flow = zuko.flows.NSF(u.shape[1], context=theta.shape[1], transforms=3, bins=8, hidden_features=(64, 64))
    return _fit(Flow(flow), u, theta, cpu_seconds=cpu_seconds, seed=seed, learning_rate=learning_rate)


def train_maf(u: np.ndarray, theta: np.ndarray, *, cpu_seconds: float, seed: int, learning_rate: float = 1e-2) -> Peer:
    """Train a masked autoregressive flow; arguments as in :func:`train_mixture`."""
    import zuko

    torch.manual_seed(seed)
    flow = zuko.flows.MAF(u.shape[1], context=theta.shape[1], transforms=5, hidden_features=(64, 64))
    return _fit(Flow(flow), u, theta, cpu_seconds=cpu_seconds, seed=seed, learning_rate=learning_rate)


def _fit(
    model: Mixture | Flow,
    u: np.ndarray,
    theta: np.ndarray,
    *,
    cpu_seconds: float,
    seed: int,
    learning_rate: float,
) -> Peer:
    """Adam until the CPU time is used up; the weights with the lowest held-out loss are kept.

    The learning rate follows a short warm-up and a cosine to zero, as functions of the CPU time used.
    """
    start = time.process_time()
    order = np.random.default_rng(seed).permutation(len(u))
    n_held = max(1, min(int(HELD_OUT * len(u)), MOST_HELD_OUT))
    held, kept = order[:n_held], order[n_held:]
    held_u, held_theta = u[held], theta[held]
    train_u, train_theta = _tensor(u[kept]), _tensor(theta[kept])
    batch_size = min(BATCH_SIZE, len(kept))
    steps_per_epoch = len(kept) // batch_size
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    best_loss, best_fraction, best_weights = math.inf, 0.0, copy.deepcopy(model.state_dict())
    steps, next_check, fraction, rows = 0, CHECK_INTERVAL, 0.0, torch.empty(0)
    while fraction < 1:
        fraction = (time.process_time() - start) / cpu_seconds
        if fraction >= min(next_check, 1.0):
            loss = -float(Peer(model, "").log_prob(held_u, held_theta).mean())
            print(f"{100 * fraction:.0f} % of the CPU time, held-out loss {loss:.4f}", file=sys.stderr, flush=True)
            if loss < best_loss:
                best_loss, best_fraction, best_weights = loss, fraction, copy.deepcopy(model.state_dict())
            cost = (time.process_time() - start) / cpu_seconds - fraction
            next_check = fraction + max(CHECK_INTERVAL, cost / CHECK_SHARE)
            continue
        if steps % steps_per_epoch == 0:
            rows = torch.randperm(len(kept))
        part = rows[(steps % steps_per_epoch) * batch_size :][:batch_size]
        steps += 1
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * _rate(fraction)
        optimiser.zero_grad()
        value = -model.log_prob(train_u[part], train_theta[part]).mean()
        if torch.isfinite(value):
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MOST_GRADIENT)
            optimiser.step()
    if not math.isfinite(best_loss):
        raise FloatingPointError("the held-out loss was never finite; lower the learning rate")
    model.load_state_dict(best_weights)
    n_weights = sum(weight.numel() for weight in model.parameters())
    summary = (
        f"{steps} steps, {steps / steps_per_epoch:.1f} epochs over {len(kept)} events, {n_weights} weights; "
        f"best held-out loss {best_loss:.4f} nats after {100 * best_fraction:.0f} % of the CPU time."
    )
    print(summary, file=sys.stderr, flush=True)
    return Peer(model, summary)


def _rate(fraction: float) -> float:
    """Learning rate in units of the largest one."""
    warm = min(1.0, (fraction + 1e-6) / WARM_UP)
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, fraction - WARM_UP) / (1 - WARM_UP))))


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)


def _rows(theta: np.ndarray, n: int) -> torch.Tensor:
    theta = np.asarray(theta)
    return _tensor(theta) if theta.ndim == 2 else _tensor(theta).expand(n, -1)


__all__ = ["Flow", "Mixture", "Peer", "train_maf", "train_mixture", "train_nsf"]
