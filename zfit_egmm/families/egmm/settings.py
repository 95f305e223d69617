"""MixtureSettings: what a training of the mixture family may choose, and what it chooses itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal

from zfit_egmm.events.sample import EventSample
from zfit_egmm.families.egmm.model import MixtureModel
from zfit_egmm.families.egmm.networks import NETWORKS, Network, PaperNetwork, SmoothNetwork, network_kind
from zfit_egmm.training.config import FEW_EVENTS, MANY_EVENTS, TrainingConfig

COMPONENTS_ACROSS = 12
"""Components start with a width of the latent axis over this number: narrower ones learn weak modulations badly."""


@dataclass(frozen=True)
class MixtureSettings:
    """Settings of the Gaussian mixture, ``TrainingConfig(model=MixtureSettings(...))``.

    Args:
        network: The networks, a :class:`~zfit_egmm.families.egmm.networks.SmoothNetwork` or a
            :class:`~zfit_egmm.families.egmm.networks.PaperNetwork`. Default: chosen from the size of the sample.
        projection: Map to the latent axis, ``"smooth"`` or the paper's ``"linear"``.

    Raises:
        ValueError: If a value makes no sense; the message says which.
    """

    name: ClassVar[str] = "egmm"

    network: Network | None = None
    projection: Literal["smooth", "linear"] = "smooth"

    def __post_init__(self) -> None:
        if self.projection not in ("smooth", "linear"):
            raise ValueError(f"projection must be 'smooth' or 'linear', got {self.projection!r}")
        if self.network is not None and not isinstance(self.network, SmoothNetwork | PaperNetwork):
            raise ValueError(f"network must be a SmoothNetwork or a PaperNetwork, got {self.network!r}")

    def resolved(self, effective_events: float) -> MixtureSettings:
        """See :meth:`.ModelSettings.resolved`."""
        return self if self.network is not None else replace(self, network=_network(effective_events))

    def prepare(self, sample: EventSample, config: TrainingConfig) -> MixtureModel:
        """See :meth:`.ModelSettings.prepare`."""
        return MixtureModel(sample, config, self)

    def as_text(self) -> dict[str, Any]:
        """See :meth:`.ModelSettings.as_text`."""
        network = None if self.network is None else {"kind": network_kind(self.network), **asdict(self.network)}
        return {"network": network, "projection": self.projection}

    @classmethod
    def of_text(cls, text: Mapping[str, Any]) -> MixtureSettings:
        """See :meth:`.ModelSettings.of_text`."""
        unknown = sorted(set(text) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"the model egmm has no {', '.join(unknown)}; it has network and projection")
        choices = dict(text)
        if isinstance(choices.get("network"), Mapping):
            network = dict(choices["network"])
            kind = network.pop("kind", "smooth")
            if kind not in NETWORKS:
                raise ValueError(f"network: kind must be one of {', '.join(NETWORKS)}, got {kind!r}")
            known = [field.name for field in fields(NETWORKS[kind])]
            wrong = sorted(set(network) - set(known))
            if wrong:
                raise ValueError(f"network: a {kind} network has no {', '.join(wrong)}; it has {', '.join(known)}")
            choices["network"] = NETWORKS[kind](**network)
        return cls(**choices)


def _network(effective_events: float) -> SmoothNetwork:
    """Capacity that the events can determine."""
    sizes = (
        (FEW_EVENTS, (16, 16), 4),
        (3e4, (24, 24), 10),
        (1e5, (32, 32), 12),
        (MANY_EVENTS, (64, 64, 64), 16),
        (math.inf, (64,) * 6, 24),
    )
    _, hidden, n_components = next(size for size in sizes if effective_events < size[0])
    # Many components start as wide as a few, so that only what the events ask for becomes narrow.
    width_fraction = max(n_components / COMPONENTS_ACROSS, 0.5)
    return SmoothNetwork(hidden=hidden, n_components=n_components, width_fraction=width_fraction)
