"""zfit PDFs of learned densities."""

from zfit_egmm.pdf import hs3 as hs3  # registers EGMM with zfit's serialisation
from zfit_egmm.pdf.egmm import EGMM
from zfit_egmm.pdf.project import project
from zfit_egmm.pdf.projected import ProjectedEGMM
from zfit_egmm.pdf.spaces import box

__all__ = ["EGMM", "ProjectedEGMM", "box", "project"]
