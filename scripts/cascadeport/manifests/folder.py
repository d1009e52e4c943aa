"""The folder of manifests: a kustomization for each thing that is applied by itself."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cascadeport.base.files import disk_errors, write_text
from cascadeport.manifests import infer, pod, serve, volcano
from cascadeport.manifests.subject import Subject

ADAPTER = "prometheus-adapter.yaml"
HOST = "host-files"
_KUSTOMIZATION = "kustomization.yaml"
_HEAD = "# Written by `cascadeport manifests`: {title} on {target}, version {version}.{more}\n"
_README = """\
# {title} on {target}, version {version}

Kubernetes 1.29 or newer. docs/kubernetes.md of Cascadeport explains what is in here.
{warning}
| folder | `kubectl apply -k` it for |
| --- | --- |
| `infer/` | the pictures of the claim `{pictures}` in {shards} shards: an Indexed Job |
| `merge/` | one result of all shards, when that Job has ended |
| `serve/` | detections over HTTP, {fewest} to {most} servers |
| `.` | `infer/` and `serve/` together |
| `volcano/infer/`, `volcano/serve/` | the same where Volcano schedules |

```
kubectl apply -k infer/
kubectl wait --for=condition=complete --timeout=24h job/{name}-infer
kubectl apply -k merge/
```

`{adapter}` is no object of Kubernetes: it is the rule that prometheus-adapter needs for the
autoscaler (Helm: `-f {adapter}`).

The image: `{image}`
{loaded}"""


def write(subject: Subject, folder: Path) -> list[Path]:
    """Writes everything; what is there already is replaced.

    Returns:
        The files.

    Raises:
        CascadeportError: The disk is full, or the declaration cannot be said in a cluster.
    """
    files = content(subject)
    with disk_errors(folder):
        if folder.exists():
            shutil.rmtree(folder)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(folder / name, text)
    return [folder / name for name in files]


def content(subject: Subject) -> dict[str, str]:
    """Every file, by its path in the folder."""
    fewest, most = subject.replicas
    files: dict[str, dict[str, Any]] = {}
    _put(files, subject, "infer", {"job": infer.job(subject), "network": infer.network(subject)})
    _put(files, subject, "merge", {"job": infer.merge(subject)}, host=False)
    servers = {
        "deployment": serve.deployment(subject),
        "service": serve.service(subject),
        "budget": serve.budget(subject),
        "network": serve.network(subject),
    }
    if fewest < most:
        servers["autoscaler"] = serve.autoscaler(subject)
        files[ADAPTER] = serve.adapter()
    _put(files, subject, "serve", servers)
    shards = {"job": volcano.job(subject), "network": infer.network(subject)}
    _put(files, subject, "volcano/infer", shards)
    files["volcano/serve/patch.yaml"] = volcano.servers(subject)
    files[f"volcano/serve/{_KUSTOMIZATION}"] = _kustomization(
        ["../../serve"], patches=[{"path": "patch.yaml"}]
    )
    files[_KUSTOMIZATION] = _kustomization(["infer", "serve"])
    if _takes_host_files(subject):
        files[f"{HOST}/{_KUSTOMIZATION}"] = _host_files(subject)
    texts = {name: _yaml(subject, value) for name, value in sorted(files.items())}
    return {"README.md": _readme(subject), **texts}


def _put(
    files: dict[str, dict[str, Any]],
    subject: Subject,
    folder: str,
    objects: Mapping[str, dict[str, Any]],
    *,
    host: bool = True,
) -> None:
    """Adds objects and the kustomization that lists them."""
    files.update({f"{folder}/{name}.yaml": value for name, value in objects.items()})
    up = "../" * (folder.count("/") + 1)
    own: dict[str, Any] = {}
    if subject.namespace:
        own["namespace"] = subject.namespace
    if host and _takes_host_files(subject):
        own["components"] = [up + HOST]
    names = [f"{name}.yaml" for name in objects]
    files[f"{folder}/{_KUSTOMIZATION}"] = _kustomization(names, **own)


def _kustomization(resources: Sequence[str], **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        **more,
        "resources": list(resources),
    }


def _takes_host_files(subject: Subject) -> bool:
    return bool(subject.host_files and pod.host_volumes(subject))


def _host_files(subject: Subject) -> dict[str, Any]:
    """A component that brings the host's own files into every pod that works on a device."""
    places = (
        ("apps", "Deployment", "/spec/template"),
        ("batch", "Job", "/spec/template"),
        ("batch.volcano.sh", "Job", "/spec/tasks/0/template"),
    )
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "patches": [
            {
                "target": {"group": group, "kind": kind},
                "patch": yaml.safe_dump(_host_patch(subject, place), sort_keys=False),
            }
            for group, kind, place in places
        ],
    }


def _host_patch(subject: Subject, template: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in pod.host_volumes(subject):
        mount = {"name": one.name, "mountPath": one.path}
        if one.read_only:
            mount["readOnly"] = True  # type: ignore[assignment]
        for path, value in (
            (f"{template}/spec/volumes/-", {"name": one.name, **one.source}),
            (f"{template}/spec/containers/0/volumeMounts/-", mount),
        ):
            found.append({"op": "add", "path": path, "value": value})
    return found


def _yaml(subject: Subject, value: Mapping[str, Any]) -> str:
    more = "".join(f"\n# {_loud(one)}" for one in subject.labels)
    head = _HEAD.format(
        title=_line(subject.title), target=subject.target, version=subject.version, more=more
    )
    body = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return head + body


class _Dumper(yaml.SafeDumper):
    """Writes what is used twice twice: no YAML references."""

    def ignore_aliases(self, data: Any) -> bool:
        """See PyYAML."""
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Text of several lines as a block, as people write it."""
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text)


def _readme(subject: Subject) -> str:
    warning = "".join(f"\n**{_loud(one)}**\n" for one in subject.labels)
    if _takes_host_files(subject):
        warning += (
            f"\n`{HOST}/` brings files of the node into the pods. A namespace that enforces the "
            "Pod Security Standard `restricted` or `baseline` does not admit them.\n"
        )
    return _README.format(
        title=_line(subject.title),
        target=subject.target,
        version=subject.version,
        name=subject.name,
        warning=warning,
        pictures=subject.pictures,
        shards=subject.shards,
        fewest=subject.replicas[0],
        most=subject.replicas[1],
        adapter=ADAPTER,
        image=subject.image,
        loaded="Every node must have it already (the shipment's `install`); no registry is asked.\n"
        if subject.is_loaded
        else "",
    )


def _loud(one: Mapping[str, str]) -> str:
    return f"{one['name'].upper()}: {_line(one['reason'])}"


def _line(text: str) -> str:
    return " ".join(text.split())
