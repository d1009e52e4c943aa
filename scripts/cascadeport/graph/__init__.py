"""ONNX to ONNX: the neutral operators, the lowerings, the contract and its verification."""

from .contract import Contract, check_contract
from .executor import executable
from .lowering import LOWERINGS, Lowering, lower
from .verify import Verification, verify

__all__ = [
    "LOWERINGS",
    "Contract",
    "Lowering",
    "Verification",
    "check_contract",
    "executable",
    "lower",
    "verify",
]
