"""The operators that atc of CANN 5.1 parses, and the attributes that its plug-ins require.

The type of a node is DOMAIN::OPSET::OP, DOMAIN being ai.onnx if empty; a plug-in is registered
for a range of opsets (Ascend/parser, onnx_parser.cc). The three detection operators are registered
in the default domain, for opsets 9 to 13.
"""

OPSETS = range(8, 14)
# Operators that only Ascend has, by their names in an ONNX file.
ASCEND = {
    "DeformableConv2D",
    "DeformableOffsets",
    "RoiExtractor",
    "BatchMultiClassNMS",
    "NMSWithMask",
    "DecodeBbox",
    "DecodeBboxV2",
    "ROIAlign",
    "NPURoiAlign",
}


# What the fusion passes of atc make of them: the operators that need a kernel.
KERNELS = {
    "DeformableConv2D": "DeformableOffsets",
    "DeformableOffsets": "DeformableOffsets",
    "RoiExtractor": "RoiExtractor",
    "BatchMultiClassNMS": "BatchMultiClassNonMaxSuppression",
}


def node_type(node, imports):
    """The type by which atc looks up a node.

    Args:
        node: An ONNX node.
        imports: The graph's opset imports, domain to version.
    """
    domain = node.domain or "ai.onnx"
    version = imports.get(node.domain, imports.get("ai.onnx" if not node.domain else "", 0))
    return "{}::{}::{}".format(domain, version, node.op_type)


def is_registered(node, imports):
    """Whether atc has a parser for a node."""
    from onnx import defs

    if node.domain not in ("", "ai.onnx"):
        return False
    version = imports.get("", imports.get("ai.onnx", 0))
    if version not in OPSETS:
        return False
    if node.op_type in ASCEND:
        return version >= 9
    return defs.has(node.op_type, max_inclusive_version=version)


def errors(node):
    """The messages of a node's plug-in; empty if it parses the node."""
    if node.op_type != "DeformableConv2D":
        return []
    values = {one.name: list(one.ints) for one in node.attribute}
    found = [
        "the {} attr shape is wrong.".format(name)
        for name in ("strides", "pads", "dilations")
        if name in values and len(values[name]) not in (1, 2)
    ]
    if "groups" not in values:
        # The plug-in's default is 0, which is not valid.
        found.append("the groups attr is 0.")
    return found
