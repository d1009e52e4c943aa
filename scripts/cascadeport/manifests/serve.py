"""Detections over HTTP: as many servers as their queues need, behind one address.

What a server does when it starts, when its device is lost and when it is asked to end is in
docs/serving.md; the probes, the pause before the end and the grace period follow it.
"""

from __future__ import annotations

from typing import Any

from cascadeport.manifests import pod
from cascadeport.manifests.infer import spread
from cascadeport.manifests.subject import Subject
from cascadeport.ship.runtime import PORT

COMPONENT = "serve"
METRIC = "cascadeport_queue"
"""The server's gauge of requests that are accepted and not answered."""
QUEUE = 4
"""How many of them a server should have on average before another one is wanted."""
DRAIN_S = 25
"""How long `serve` takes to answer what it accepted, at most."""
PAUSE_S = 5
"""How long a server that will end still accepts: until no proxy sends requests to it any more."""
_MARGIN_S = 10
_START_S = 600
"""How long a network may take to load."""


def deployment(subject: Subject) -> dict[str, Any]:
    """The servers."""
    fewest, most = subject.replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": subject.metadata(COMPONENT),
        "spec": {
            # Where there is an autoscaler, the number is its own.
            **({"replicas": fewest} if fewest == most else {}),
            "revisionHistoryLimit": 3,
            # A network that takes long to load is no failed update.
            "progressDeadlineSeconds": _START_S + 300,
            "selector": {"matchLabels": subject.selector(COMPONENT)},
            # A device that is in use cannot be given to the new version as well.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "template": _template(subject),
        },
    }


def _template(subject: Subject) -> dict[str, Any]:
    found = pod.template(
        subject,
        COMPONENT,
        [COMPONENT],
        container={
            "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
            "startupProbe": _probe("/readyz", period=5, failures=_START_S // 5),
            "readinessProbe": _probe("/readyz", period=5, failures=2),
            # 503 here says that only starting the container again helps.
            "livenessProbe": _probe("/healthz", period=10, failures=3),
            "lifecycle": {
                "preStop": {
                    "exec": {"command": ["python3", "-c", f"import time; time.sleep({PAUSE_S})"]}
                }
            },
        },
        pod={
            "terminationGracePeriodSeconds": PAUSE_S + DRAIN_S + _MARGIN_S,
            "topologySpreadConstraints": [spread(subject, COMPONENT)],
        },
    )
    found["metadata"]["annotations"] = {
        **found["metadata"]["annotations"],
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(PORT),
        "prometheus.io/path": "/metrics",
    }
    return found


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def service(subject: Subject) -> dict[str, Any]:
    """Their one address in the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": subject.metadata(COMPONENT),
        "spec": {
            "type": "ClusterIP",
            "selector": subject.selector(COMPONENT),
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def budget(subject: Subject) -> dict[str, Any]:
    """Nodes are emptied one server at a time; a server that is not ready keeps nobody waiting."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": subject.metadata(COMPONENT),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": subject.selector(COMPONENT)},
        },
    }


def autoscaler(subject: Subject) -> dict[str, Any]:
    """More servers while queues are long. The metric comes from `adapter`'s rule."""
    fewest, most = subject.replicas
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": subject.metadata(COMPONENT),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": f"{subject.name}-{COMPONENT}",
            },
            "minReplicas": fewest,
            "maxReplicas": most,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": METRIC},
                        "target": {"type": "AverageValue", "averageValue": str(QUEUE)},
                    },
                }
            ],
            "behavior": {
                # A server takes minutes to load its network: not away at the first lull.
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                },
                "scaleUp": {"stabilizationWindowSeconds": 0},
            },
        },
    }


def network(subject: Subject) -> dict[str, Any]:
    """The servers can be reached at their port, and cannot open a connection."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": subject.metadata(COMPONENT),
        "spec": {
            "podSelector": {"matchLabels": subject.selector(COMPONENT)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}]}],
        },
    }


def adapter() -> dict[str, Any]:
    """The rule by which prometheus-adapter offers the gauge to the autoscaler."""
    return {
        "rules": [
            {
                "seriesQuery": f'{METRIC}{{namespace!="",pod!=""}}',
                "resources": {
                    "overrides": {
                        "namespace": {"resource": "namespace"},
                        "pod": {"resource": "pod"},
                    }
                },
                "name": {"matches": f"^{METRIC}$", "as": METRIC},
                "metricsQuery": "max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
            }
        ]
    }
