"""OpenVINO: Intel and AMD CPUs."""

from cascadeport.backends.openvino.backend import OpenVino

BACKEND = OpenVino
