"""What a command of the command line leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

PROGRAM = "from zfit_egmm.cli import main; main()"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> str:
        """The message of an expected error."""
        assert self.code == 1, self
        assert "Traceback" not in self.err
        assert self.err.startswith("error: "), self.err
        return self.err.removeprefix("error: ").rstrip("\n")

    @property
    def error(self) -> str:
        """The same where one line must do."""
        assert "\n" not in self.errors
        return self.errors
