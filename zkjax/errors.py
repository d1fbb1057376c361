"""Every error that zkjax raises on purpose: what, where, the numbers, and what to change."""


class ZkjaxError(Exception):
    """Base class of all errors of this package."""


class UnsupportedOperationError(ZkjaxError):
    """A traced program uses something that has no exact, provable counterpart."""


class PrecisionError(ZkjaxError):
    """A bound would leave the field, or a value left its declared range during a run."""


class PrecisionWarning(UserWarning):
    """Rounding loses much of a tensor, or a training moves nothing."""


class DataError(ZkjaxError):
    """Data of the wrong shape, dtype, range or amount."""


class RunError(ZkjaxError):
    """A run, or its saved files, does not belong to the circuit at hand or is incomplete."""


class ReplacedWarning(UserWarning):
    """A saved run of another chain was replaced."""


class BudgetError(ZkjaxError):
    """A commitment has been opened as often as its randomness allows."""


class ConfigurationError(ZkjaxError):
    """Parameters that do not reach the security target, or that contradict each other."""


class UnsatisfiedWitnessError(ZkjaxError):
    """The prover's own check failed: the witness does not satisfy the circuit."""


class FormatError(ZkjaxError):
    """A file is malformed, truncated, extended, or of another version. ``proof``: its place in a chain, from 0, where it was in one."""

    proof: int | None = None

    def within(self, where: str) -> None:
        """Let the message begin with where this was met."""
        self.args = (f"{where}: {self}",)


class VerificationError(ZkjaxError):
    """A proof was rejected; ``check`` names the check that failed, ``proof`` the proof's place in a chain, from 0, where it was in one."""

    proof: int | None = None

    def __init__(self, check: str, detail: str = ""):
        self.check, self.detail = check, detail
        super().__init__(f"{check}: {detail}" if detail else check)

    def within(self, where: str) -> None:
        """Let the detail begin with where this was met."""
        self.detail = f"{where}: {self.detail}"
        self.args = (f"{self.check}: {self.detail}",)
