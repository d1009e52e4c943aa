"""Manifests for tests: written as the command does, and read back with nothing of the project's.

`Cluster` runs a Job here as Kubernetes would: a process per pod, the claims as folders, the index
in the environment, and what the Job says about failures obeyed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from cascadeport.base.paths import REPOSITORY
from cascadeport.commands.manifests import of
from cascadeport.config.options import Request
from cascadeport.manifests.subject import Subject
from cascadeport.ship.manifest import Manifest
from jsonschema import Draft7Validator

from tests.helpers import contexts

RELEASES = ("v1.29.0", "v1.37.0")
_GOLDEN = REPOSITORY / "tests" / "golden" / "kubernetes"
IMAGE = "registry.example/detect/x@sha256:" + "1" * 64


def subject(
    target: str, shipped: Manifest | None = None, *, simulate: bool = False, **request: Any
) -> Subject:
    """What `cascadeport manifests` deploys, from its options."""
    given = {"image": IMAGE if shipped is None else None, **request}
    shards = given.pop("shards", 3)
    context = contexts.context(target, engine="docker", simulate=simulate, shards=shards)
    return of(context, Request(**given), shipped)


@cache
def _schemas(release: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_GOLDEN / f"{release}.json").read_text())
    return found


def errors(value: dict[str, Any], release: str, definition: str | None = None) -> list[str]:
    """What the schema of a release says against an object, unknown fields included.

    Args:
        definition: A part's definition; that of the object's kind unless given.
    """
    known = _schemas(release)
    if definition is None:
        schema = known["kinds"][f"{value['apiVersion']} {value['kind']}"]
    else:
        schema = known["$defs"][definition]
    validator = Draft7Validator({**schema, "$defs": known["$defs"]})
    return [
        f"{'/'.join(map(str, one.path))}: {one.message}" for one in validator.iter_errors(value)
    ]


def objects(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every object of Kubernetes in a folder of manifests."""
    for path in sorted(folder.rglob("*.yaml")):
        value = yaml.safe_load(path.read_text())
        if path.name not in ("kustomization.yaml", "patch.yaml") and "kind" in value:
            yield path, value


def template(value: dict[str, Any]) -> dict[str, Any] | None:
    """The pod template of an object; None: it has none."""
    spec = value.get("spec", {})
    found = spec.get("template") or (spec.get("tasks") or [{}])[0].get("template")
    return found if isinstance(found, dict) else None


class Cluster:
    """Runs a Job of batch/v1, one pod after the other.

    Args:
        run: Runs a container: its arguments with the claims' folders in them, and its environment;
            returns the exit code.
        claims: The folder of each claim.
    """

    def __init__(
        self, run: Callable[[list[str], dict[str, str]], int], claims: dict[str, Path]
    ) -> None:
        self._run = run
        self._claims = claims
        self.started: list[int] = []

    def job(self, job: dict[str, Any]) -> tuple[set[int], set[int]]:
        """Runs a Job until it ends; returns the indexes that succeeded, and those that failed."""
        spec = job["spec"]
        indexed = spec.get("completionMode") == "Indexed"
        tries = spec["backoffLimitPerIndex"] if indexed else spec["backoffLimit"]
        done: set[int] = set()
        failed: set[int] = set()
        left = [(index, 0) for index in range(spec.get("completions", 1))]
        while left:
            index, failures = left.pop(0)
            code = self._pod(spec["template"]["spec"], index if indexed else None)
            if code == 0:
                done.add(index)
            elif self._gives_up(spec, code) or failures >= tries:
                failed.add(index)
            else:
                left.append((index, failures + 1))
        return done, failed

    def volcano(self, job: dict[str, Any]) -> set[int]:
        """Runs a Job of batch.volcano.sh until it ends; returns the indexes that succeeded.

        Its controller writes a pod's index into an annotation, and begins the whole task anew when
        a pod ends with a code that a policy names.
        """
        spec = job["spec"]
        (task,) = spec["tasks"]
        again = {one["exitCode"] for one in spec["policies"] if "exitCode" in one}
        for _ in range(1 + spec["maxRetry"]):
            codes = {}
            for index in range(task["replicas"]):
                self.started.append(index)
                annotations = {"volcano.sh/task-index": str(index)}
                codes[index] = self._pod(task["template"]["spec"], None, annotations)
                if codes[index] in again:
                    break
            else:
                break
        return {index for index, code in codes.items() if code == 0}

    def _pod(
        self,
        spec: dict[str, Any],
        index: int | None,
        annotations: Mapping[str, str] = MappingProxyType({}),
    ) -> int:
        (container,) = spec["containers"]
        environment = {}
        for one in container.get("env", []):
            if "value" in one:
                environment[one["name"]] = one["value"]
            else:
                path = one["valueFrom"]["fieldRef"]["fieldPath"]
                key = path.removeprefix("metadata.annotations['").removesuffix("']")
                environment[one["name"]] = annotations[key]
        if index is not None:
            self.started.append(index)
            environment["JOB_COMPLETION_INDEX"] = str(index)
        sources = {one["name"]: one for one in spec["volumes"]}
        places = {
            one["mountPath"]: self._claims[
                sources[one["name"]]["persistentVolumeClaim"]["claimName"]
            ]
            for one in container["volumeMounts"]
            if "persistentVolumeClaim" in sources[one["name"]]
        }
        words = [str(places.get(word, word)) for word in container["args"]]
        return self._run(words, environment)

    @staticmethod
    def _gives_up(spec: dict[str, Any], code: int) -> bool:
        for rule in spec.get("podFailurePolicy", {}).get("rules", []):
            exits = rule.get("onExitCodes")
            if exits and exits["operator"] == "In" and code in exits["values"]:
                assert rule["action"] == "FailIndex"
                return True
        return False
