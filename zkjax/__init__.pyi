# The public names for type checkers, which do not follow the lazy imports of __init__.py.

from .calibration import Calibration as Calibration
from .calibration import calibrate as calibrate
from .circuit import Circuit as Circuit
from .config import Precision as Precision
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
from .proof import Proof as Proof
from .prover import prove as prove
from .published import Published as Published
from .statement import Statement as Statement
from .tracing import trace as trace
from .training import Dataset as Dataset
from .training import Run as Run
from .training import chunks as chunks
from .training import train as train
from .verifier import ledger as ledger
from .verifier import verify as verify

__version__: str
