"""What AMCT, the vendor's tool that quantises, takes: network, inputs, configuration, command.

AMCT comes with CANN and is not run here. Its options and the keys of its configuration are those of
the vendor's documents (CANN 7.0 to 9.1, "amct_onnx calibration" and
"calibration_config_onnx.proto") and of its published sources: Ascend/samples at 127ca15f,
python/level1_single_api/9_amct/amct_onnx/cmd/scripts/run_calibration.sh, and hicann/amct at
0f522f35, amct_pytorch/graph_based_compression/amct_pytorch/proto/calibration_config_pytorch.proto.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx

from cascadeport.backends.ascend.atc_graph import describe
from cascadeport.backends.ascend.standard_lowering import AscendStandard
from cascadeport.base.files import write_text
from cascadeport.core.backend import ForeignQuantiser

CONFIG, SCRIPT, DATA = "amct.cfg", "amct.sh", "calibration"
#: Operators with weights that AMCT quantises where it is not told otherwise.
_QUANTISED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


class Amct(ForeignQuantiser):
    """AMCT for ONNX.

    It runs the network in onnxruntime to measure ranges, and onnxruntime has none of CANN's
    detection operators: so it gets the lowering in standard operators.
    """

    name = "AMCT"
    lowering = AscendStandard()

    def write(
        self, folder: Path, graph: Path, int8: Collection[str], inputs: Sequence[Path]
    ) -> None:
        """See `ForeignQuantiser`."""
        model = onnx.load(str(graph))
        data = folder / DATA
        data.mkdir()
        for index, path in enumerate(inputs):
            np.load(path).tofile(data / f"input_{index:04}.bin")
        weights = {tensor.name for tensor in model.graph.initializer}
        skipped = [
            node.name
            for node in model.graph.node
            if node.op_type in _QUANTISED and weights & set(node.input) and node.name not in int8
        ]
        write_text(folder / CONFIG, config(len(inputs), skipped))
        script = folder / SCRIPT
        write_text(script, _script(command(describe(model).input_shape, graph.name)))
        script.chmod(0o755)


def config(batches: int, skipped: Sequence[str]) -> str:
    """AMCT's simplified configuration, protobuf's text format of its `AMCTConfig`.

    Args:
        batches: How many files there are to calibrate on, a picture each.
        skipped: Names of the layers that stay in float.
    """
    lines = [
        f"batch_num: {batches}",
        # uint8 with a zero point, as on the CPU targets.
        "activation_offset: true",
        # The lowering leaves batch norms to the vendor's tools.
        "do_fusion: true",
        *(f'skip_layers: "{name}"' for name in skipped),
    ]
    return "".join(f"{line}\n" for line in lines)


def command(input_shape: str, network: str) -> list[str]:
    """AMCT's command line, in the folder of its files."""
    return [
        *("amct_onnx", "calibration"),
        *("--model", network),
        *("--save_path", "./quantised/network"),
        *("--input_shape", input_shape),
        *("--data_dir", f"./{DATA}"),
        *("--data_types", "float32"),
        *("--calibration_config", f"./{CONFIG}"),
    ]


def _script(words: Sequence[str]) -> str:
    return (
        "#!/bin/sh\n"
        "# Prepared, not run: AMCT is the vendor's, and no part of this project.\n"
        "# quantised/network_deploy_model.onnx is what atc takes afterwards,\n"
        "# quantised/network_fake_quant_model.onnx the same for onnxruntime on a processor.\n"
        'set -eu\ncd "$(dirname "$0")"\n'
        f"{shlex.join(words)}\n"
    )
