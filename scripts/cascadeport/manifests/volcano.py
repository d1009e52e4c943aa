"""For clusters that Volcano schedules, as those with Ascend chips mostly are.

The servers keep their Deployment and get Volcano's scheduler. The Indexed Job becomes a Job of
Volcano's own: its controller (volcano-sh/volcano, `pkg/controllers/job/job_controller_util.go`,
from 1.9 on) writes a pod's index into the annotation `volcano.sh/task-index`, from which it comes
into the same variable as in an Indexed Job.

Volcano has no tries per index: it starts all shards again when one has failed, at most `maxRetry`
times. A shard goes on where it was, and one that is finished says so at once.
"""

from __future__ import annotations

from typing import Any

from cascadeport.manifests import infer, serve
from cascadeport.manifests.subject import Subject

SCHEDULER = "volcano"
INDEX = "JOB_COMPLETION_INDEX"
_ANNOTATION = "volcano.sh/task-index"
_TRIES = 3
# An error, and the signals of a crash and of too little memory. Not 1: a picture was skipped, and
# would be again.
_AGAIN = (2, 134, 137, 139)
_KEPT_S = 7 * 24 * 3600


def job(subject: Subject) -> dict[str, Any]:
    """Volcano's Job for the shards."""
    template = infer.shard(subject)
    _schedule(subject, template)
    (container,) = template["spec"]["containers"]
    container["env"] = [_from_annotation(INDEX, _ANNOTATION), *container.get("env", [])]
    return {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": subject.metadata(infer.COMPONENT),
        "spec": {
            "schedulerName": SCHEDULER,
            "queue": "default",
            # Shards know nothing of each other: one that has a device begins.
            "minAvailable": 1,
            "minSuccess": subject.shards,
            "maxRetry": _TRIES,
            "ttlSecondsAfterFinished": _KEPT_S,
            "policies": [
                {"event": "PodEvicted", "action": "RestartTask"},
                *({"exitCode": code, "action": "RestartTask"} for code in _AGAIN),
            ],
            "tasks": [
                {
                    "name": infer.COMPONENT,
                    "replicas": subject.shards,
                    "minAvailable": 1,
                    "template": template,
                }
            ],
        },
    }


def servers(subject: Subject) -> dict[str, Any]:
    """What the Deployment says besides: a patch."""
    template: dict[str, Any] = {"metadata": {}, "spec": {"containers": [{"name": serve.COMPONENT}]}}
    _schedule(subject, template)
    if not template["metadata"]:
        del template["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{subject.name}-{serve.COMPONENT}"},
        "spec": {"template": template},
    }


def _schedule(subject: Subject, template: dict[str, Any]) -> None:
    """Gives a pod Volcano's scheduler, and says how the vendor's plug-in for it knows devices."""
    plug_in = subject.plug_in
    template["spec"]["schedulerName"] = SCHEDULER
    if plug_in is None:
        return
    if plug_in.labels:
        labels = template["metadata"].setdefault("labels", {})
        labels.update(plug_in.labels)
    if plug_in.chosen is not None:
        variable, annotation = plug_in.chosen
        (container,) = template["spec"]["containers"]
        container["env"] = [_from_annotation(variable, annotation), *container.get("env", [])]


def _from_annotation(variable: str, annotation: str) -> dict[str, Any]:
    path = f"metadata.annotations['{annotation}']"
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}
