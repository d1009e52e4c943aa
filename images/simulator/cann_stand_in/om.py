"""The stand-in's om file: a zip archive of atc's arguments and the graph."""

import json
import zipfile

FACTS = "om.json"
GRAPH = "graph.onnx"
AIPP = "aipp.cfg"


def write(path, facts, graph, aipp=None):
    """Writes an om file.

    Args:
        facts: The metadata: soc_version, precision_mode, inputs, outputs, ...
        graph: The ONNX graph's bytes.
        aipp: The text of the AIPP configuration, if any.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ((FACTS, json.dumps(facts)), (GRAPH, graph), (AIPP, aipp)):
            if content is not None:
                # A fixed timestamp: equal graphs give equal files.
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def read(path):
    """Reads an om file: (facts, graph, aipp or None).

    Raises:
        ValueError: It is not an om file, or is truncated.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            facts = json.loads(archive.read(FACTS))
            aipp = archive.read(AIPP).decode() if AIPP in names else None
            return facts, archive.read(GRAPH), aipp
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise ValueError("not an om file, or a truncated one: {}".format(error)) from error
