"""Pictures in shards: an Indexed Job, one index per shard, and the Job that merges what they found.

What the exit codes of `infer` mean to the Job (docs/frozen-image.md): 1, finished but a picture was
skipped, fails that index alone and is not tried again, because it would come out the same; 2 and
signals are tried again, and go on where the shard stopped.
"""

from __future__ import annotations

from typing import Any

from cascadeport.manifests import pod
from cascadeport.manifests.pod import Volume
from cascadeport.manifests.subject import Subject

COMPONENT = "infer"
MERGE = "merge"
IN, FOUND = "/in", "/found"
_SKIPPED = 1
_TRIES = 3
_KEPT_S = 7 * 24 * 3600
_GRACE_S = 40
"""Longer than `infer` takes to finish what it is writing."""


def job(subject: Subject) -> dict[str, Any]:
    """The Indexed Job. Kubernetes says the index in JOB_COMPLETION_INDEX."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": subject.metadata(COMPONENT),
        "spec": {
            "completionMode": "Indexed",
            "completions": subject.shards,
            "parallelism": subject.parallelism,
            "backoffLimitPerIndex": _TRIES,
            # Every shard gets its tries; one that cannot be done keeps none from being done.
            "maxFailedIndexes": subject.shards,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailIndex",
                        "onExitCodes": {
                            "containerName": COMPONENT,
                            "operator": "In",
                            "values": [_SKIPPED],
                        },
                    },
                ]
            },
            "ttlSecondsAfterFinished": _KEPT_S,
            "template": shard(subject),
        },
    }


def shard(subject: Subject) -> dict[str, Any]:
    """The pod of a shard."""
    return pod.template(
        subject,
        COMPONENT,
        [COMPONENT, IN, FOUND, "--format", "coco", "--shard", f"/{subject.shards}"],
        volumes=(
            Volume("pictures", IN, _claim(subject.pictures, read_only=True), read_only=True),
            Volume("found", FOUND, _claim(subject.found)),
        ),
        pod={
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": _GRACE_S,
            "topologySpreadConstraints": [spread(subject, COMPONENT)],
        },
    )


def merge(subject: Subject) -> dict[str, Any]:
    """The Job that makes one result of the shards'; it needs no device."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": subject.metadata(MERGE),
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEPT_S,
            "template": pod.template(
                subject,
                MERGE,
                [MERGE, FOUND, "--format", "coco"],
                volumes=(Volume("found", FOUND, _claim(subject.found)),),
                device=False,
                pod={"restartPolicy": "Never", "terminationGracePeriodSeconds": _GRACE_S},
            ),
        },
    }


def network(subject: Subject) -> dict[str, Any]:
    """No network for the pods of both Jobs, as `network_mode: none` in compose."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": subject.metadata(COMPONENT),
        "spec": {
            "podSelector": {
                "matchLabels": {"app.kubernetes.io/name": subject.name},
                "matchExpressions": [
                    {
                        "key": "app.kubernetes.io/component",
                        "operator": "In",
                        "values": [COMPONENT, MERGE],
                    }
                ],
            },
            "policyTypes": ["Ingress", "Egress"],
        },
    }


def spread(subject: Subject, component: str) -> dict[str, Any]:
    """Pods on as many nodes as there are, so that they share processors as little as they can."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": subject.selector(component)},
    }


def _claim(name: str, *, read_only: bool = False) -> dict[str, Any]:
    claim: dict[str, Any] = {"claimName": name}
    return {"persistentVolumeClaim": {**claim, **({"readOnly": True} if read_only else {})}}
