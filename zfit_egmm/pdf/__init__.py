"""zfit PDFs of learned densities."""

from zfit_egmm.pdf.egmm import EGMM
from zfit_egmm.pdf.projected import ProjectedEGMM
from zfit_egmm.pdf.spaces import box

__all__ = ["EGMM", "ProjectedEGMM", "box"]
