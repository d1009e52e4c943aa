"""The stand-in's om file: a zip of what atc was told and the graph it was given."""

import json
import zipfile

FACTS = "om.json"
GRAPH = "graph.onnx"
AIPP = "aipp.cfg"


def write(path, facts, graph, aipp=None):
    """Writes an om file.

    Args:
        facts: What atc was told: soc_version, out_nodes, inputs, outputs, ...
        graph: The ONNX graph's bytes.
        aipp: The text of the AIPP configuration, if there is one.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ((FACTS, json.dumps(facts)), (GRAPH, graph), (AIPP, aipp)):
            if content is not None:
                # A fixed time: the same graph gives the same file.
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def read(path):
    """Reads an om file: (facts, graph, aipp or None).

    Raises:
        ValueError: It is none, or was cut off.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            facts = json.loads(archive.read(FACTS))
            aipp = archive.read(AIPP).decode() if AIPP in names else None
            return facts, archive.read(GRAPH), aipp
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise ValueError("not a whole om file: {}".format(error)) from error
