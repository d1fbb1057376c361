# The public names for type checkers, which do not follow the lazy imports of __init__.py.

from .auditing.conclusion import Conclusion as Conclusion
from .auditing.conclusion import check as check
from .calibration import Calibration as Calibration
from .calibration import calibrate as calibrate
from .calibration import calibrate_step as calibrate_step
from .circuit.circuit import Circuit as Circuit
from .errors import BudgetError as BudgetError
from .errors import ConfigurationError as ConfigurationError
from .errors import DataError as DataError
from .errors import FormatError as FormatError
from .errors import PrecisionError as PrecisionError
from .errors import PrecisionWarning as PrecisionWarning
from .errors import ReplacedWarning as ReplacedWarning
from .errors import RunError as RunError
from .errors import UnsatisfiedWitnessError as UnsatisfiedWitnessError
from .errors import UnsupportedOperationError as UnsupportedOperationError
from .errors import VerificationError as VerificationError
from .errors import ZkjaxError as ZkjaxError
from .planning.estimate import Estimate as Estimate
from .planning.estimate import estimate as estimate
from .proofs.disclosure import Disclosure as Disclosure
from .proofs.model import Model as Model
from .proofs.proof import Proof as Proof
from .proofs.published import Published as Published
from .proofs.statement import Statement as Statement
from .prover.disclose import disclose as disclose
from .prover.link import link as link
from .prover.prove import prove as prove
from .publishing import publish as publish
from .tracing.precision import Precision as Precision
from .tracing.program import trace as trace
from .tracing.program import trace_step as trace_step
from .tracing.recipe import Recipe as Recipe
from .training.dataset import Dataset as Dataset
from .training.run import Run as Run
from .training.train import chunks as chunks
from .training.train import train as train
from .verifier import ledger as ledger
from .verifier import verify as verify

__version__: str
