"""OpenVINO: Intel and AMD processors."""

from cascadeport.backends.openvino.backend import OpenVino

BACKEND = OpenVino
