"""The stand-in's om file: a zip archive of atc's arguments and the graph."""

import json
import zipfile

FACTS = "om.json"
GRAPH = "graph.onnx"
AIPP = "aipp.cfg"


def graph_of(gear):
    """The name of the graph of a gear (rows, columns)."""
    return "graph-{}x{}.onnx".format(*gear)


def write(path, facts, graphs, aipp=None):
    """Writes an om file.

    Args:
        facts: The metadata: soc_version, precision_mode, inputs, outputs, ...
        graphs: The ONNX graphs' bytes: `GRAPH`, or one for each gear.
        aipp: The text of the AIPP configuration, if any.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        parts = [(FACTS, json.dumps(facts))] + sorted(graphs.items()) + [(AIPP, aipp)]
        for name, content in parts:
            if content is not None:
                # A fixed timestamp: equal graphs give equal files.
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def read(path):
    """Reads an om file: (facts, graphs by gear, aipp or None); without gears, by ().

    Raises:
        ValueError: It is not an om file, or is truncated.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            facts = json.loads(archive.read(FACTS))
            aipp = archive.read(AIPP).decode() if AIPP in names else None
            gears = [tuple(gear) for gear in facts.get("gears", [])]
            if not gears:
                return facts, {(): archive.read(GRAPH)}, aipp
            return facts, {gear: archive.read(graph_of(gear)) for gear in gears}, aipp
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise ValueError("not an om file, or a truncated one: {}".format(error)) from error
