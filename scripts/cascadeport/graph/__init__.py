"""ONNX to ONNX: the neutral operators, what lowerings share, the contract and its verification."""

from cascadeport.graph.contract import Contract, check_contract
from cascadeport.graph.lowering import Lowered, Lowering, LoweringRequest
from cascadeport.graph.verify import Session, Verification, reference_shapes, verify

__all__ = [
    "Contract",
    "Lowered",
    "Lowering",
    "LoweringRequest",
    "Session",
    "Verification",
    "check_contract",
    "reference_shapes",
    "verify",
]
