"""Manifests: what Kubernetes itself says of them, and that they say what the compose files say."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.cli.main import main
from cascadeport.config import targets
from cascadeport.config.options import Options
from cascadeport.manifests import folder, pod
from cascadeport.manifests.subject import Subject
from cascadeport.ship import papers, runtime
from cascadeport.ship.manifest import ArchiveFacts, ImageFacts, Manifest, as_json

from bundle.frozen import __main__ as program
from bundle.frozen.serve.limits import Limits
from tests.helpers import contexts, kubernetes
from tests.unit.test_ship_runtime import FACTS

TARGETS = sorted(targets.load(Options().targets, backends.row))
REAL = [(target, False) for target in TARGETS]
ALL = [*REAL, ("310", True), ("310P3", True)]


def shipped(target: str, *labels: str) -> Manifest:
    """The manifest of a shipment."""
    return Manifest(
        cascadeport="0.2.0",
        name="some_detector",
        title="Some *detector*,\nin two lines",
        version="2026.11.29-1a2b3c4d" + "".join(f"-{one}" for one in labels),
        target=target,
        labels=[{"name": one, "reason": f'It is {one}: "really".'} for one in labels],
        image=ImageFacts(
            name=f"cascadeport/some_detector-{target.lower()}:2026.11.29-1a2b3c4d",
            id="sha256:" + "2" * 64,
            manifest="sha256:" + "3" * 64,
            architecture="amd64",
            os="linux",
            layers=[],
            shell=False,
        ),
        archive=ArchiveFacts(
            compression="zstd", compressor="x", sha256="", size=0, parts=[], part_size=None
        ),
        since=None,
        statement="signed by SHA256:abc",
        digests={"bundle": "4" * 64, "network": "5" * 64},
        rebuild=[],
        files=[],
    )


def pods(found: Subject, place: Path) -> dict[str, dict[str, Any]]:
    """The pod templates of a folder, by file."""
    folder.write(found, place)
    listed = ((path, kubernetes.template(one)) for path, one in kubernetes.objects(place))
    return {str(path.relative_to(place)): one for path, one in listed if one}


@pytest.mark.parametrize(("target", "simulate"), ALL)
def test_the_schemas_of_two_releases_know_every_field(
    target: str, simulate: bool, tmp_path: Path
) -> None:
    folder.write(kubernetes.subject(target, simulate=simulate), tmp_path)
    seen = set()
    for path, one in kubernetes.objects(tmp_path):
        seen.add(one["kind"])
        for release in kubernetes.RELEASES:
            if one["apiVersion"].startswith("batch.volcano.sh/"):
                part = "io.k8s.api.core.v1.PodTemplateSpec"
                template = kubernetes.template(one)
                assert template is not None
                assert kubernetes.errors(template, release, part) == [], path
            else:
                assert kubernetes.errors(one, release) == [], path
    assert seen == {
        *("Job", "NetworkPolicy", "Deployment", "Service", "PodDisruptionBudget"),
        "HorizontalPodAutoscaler",
    }


def test_the_schemas_refuse_what_no_release_knows(tmp_path: Path) -> None:
    job = yaml.safe_load(folder.content(kubernetes.subject("cpu"))["infer/job.yaml"])
    job["spec"]["backoffLimitPerIndx"] = 3
    job["spec"]["completions"] = "three"
    for release in kubernetes.RELEASES:
        found = " ".join(kubernetes.errors(job, release))
        assert "backoffLimitPerIndx" in found
        assert "'three' is not of type" in found


# batch.volcano.sh/v1alpha1 Job, by volcano-sh/volcano v1.9.0,
# config/crd/volcano/bases/batch.volcano.sh_jobs.yaml: the fields that there are.
VOLCANO_SPEC = {
    *("maxRetry", "minAvailable", "minSuccess", "plugins", "policies", "priorityClassName"),
    *("queue", "runningEstimate", "schedulerName", "tasks", "ttlSecondsAfterFinished", "volumes"),
}
VOLCANO_TASK = {
    *("dependsOn", "maxRetry", "minAvailable", "name", "policies", "replicas", "template"),
    "topologyPolicy",
}


@pytest.mark.parametrize("target", TARGETS)
def test_volcano_s_job_has_the_fields_of_its_definition(target: str) -> None:
    files = folder.content(kubernetes.subject(target))
    job = yaml.safe_load(files["volcano/infer/job.yaml"])
    assert set(job["spec"]) <= VOLCANO_SPEC
    (task,) = job["spec"]["tasks"]
    assert set(task) <= VOLCANO_TASK
    assert task["replicas"] == job["spec"]["minSuccess"] == 3
    assert {one.get("exitCode") for one in job["spec"]["policies"]}.isdisjoint({0, 1})
    environment = {one["name"]: one for one in task["template"]["spec"]["containers"][0]["env"]}
    field = environment["JOB_COMPLETION_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.annotations['volcano.sh/task-index']"
    plain = yaml.safe_load(files["infer/job.yaml"])["spec"]["template"]["spec"]
    mine = task["template"]["spec"]
    assert mine.pop("schedulerName") == "volcano"
    # But for where the index comes from, and who chooses devices, they are the same pods.
    own = {one["name"] for one in environment.values() if "valueFrom" in one}
    mine["containers"][0]["env"] = [
        one for one in mine["containers"][0]["env"] if one["name"] not in own
    ]
    plain["containers"][0].setdefault("env", [])
    assert mine == plain


def test_each_device_is_asked_for_by_its_plug_in_s_name(tmp_path: Path) -> None:
    wanted = {
        "310": {"huawei.com/Ascend310": "4"},
        "310P3": {"huawei.com/Ascend310P": "1"},
        "T4": {"nvidia.com/gpu": "1"},
        "cpu": {},
        "openvino": {},
    }
    for target in TARGETS:
        for name, one in pods(kubernetes.subject(target), tmp_path / target).items():
            resources = one["spec"]["containers"][0]["resources"]
            devices = {key: value for key, value in resources["limits"].items() if "/" in key}
            assert devices == ({} if name == "merge/job.yaml" else wanted[target]), name
            assert resources["limits"] == resources["requests"]


def test_volcano_chooses_a_whole_card_of_the_310() -> None:
    files = folder.content(kubernetes.subject("310"))
    for name in ("volcano/infer/job.yaml", "volcano/serve/patch.yaml"):
        template = kubernetes.template(yaml.safe_load(files[name]))
        assert template is not None
        assert template["metadata"]["labels"]["npu-310-strategy"] == "card"
        chosen = template["spec"]["containers"][0]["env"]
        fields = {one["name"]: one.get("valueFrom") for one in chosen}
        assert fields["ASCEND_VISIBLE_DEVICES"] == {
            "fieldRef": {"fieldPath": "metadata.annotations['huawei.com/Ascend310']"}
        }


# --- one declaration, two renderings


def declared_by_compose(service: dict[str, Any]) -> dict[str, Any]:
    """What a service of a shipment's compose file allows, in words of neither."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one) for one in value]
        return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) if isinstance(value, str) else value

    service = filled(service)
    user, group = service["user"].split(":")
    reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {})
    binds = [one.split(":") for one in service.get("volumes", [])]
    left = set(service) - {
        *("image", "pull_policy", "command", "restart", "stop_grace_period", "ports", "networks"),
        *("profiles", "network_mode", "healthcheck", "user", "read_only", "cap_drop"),
        *("security_opt", "group_add", "tmpfs", "mem_limit", "memswap_limit", "init", "shm_size"),
        *("devices", "deploy", "volumes", "pids_limit", "runtime"),
    }
    assert not left, f"{left}: hold it against the manifests here as well"
    return {
        "user": int(user),
        "group": int(group),
        "groups": sorted(map(int, service.get("group_add", []))),
        "root is read-only": service["read_only"],
        "dropped": service["cap_drop"],
        "no new privileges": "no-new-privileges:true" in service["security_opt"],
        "memory": size(service["mem_limit"]),
        "temporary": {
            one.split(":")[0]: size(re.findall(r"size=(\w+)", one)[0]) for one in service["tmpfs"]
        },
        "shared memory": size(service.get("shm_size", "0")),
        "reaped": service.get("init", False),
        "runtime": service.get("runtime"),
        "swap": size(service["memswap_limit"]) - size(service["mem_limit"]),
        "chips": sum(bool(re.search(r"davinci\d+$", one)) for one in service.get("devices", [])),
        "GPUs": sum(len(one["device_ids"]) for one in reserved.get("devices", [])),
        "host": sorted((one[0], one[1], one[2:] == ["ro"]) for one in binds if one[1] not in OWN),
    }


def declared_by_pod(template: dict[str, Any]) -> dict[str, Any]:
    """The same of a pod."""
    spec = template["spec"]
    (container,) = spec["containers"]
    who, what = spec["securityContext"], container["securityContext"]
    sources = {one["name"]: one for one in spec["volumes"]}
    mounts = [(one, sources[one["name"]]) for one in container["volumeMounts"]]
    memory = {
        one["mountPath"]: size(source["emptyDir"]["sizeLimit"])
        for one, source in mounts
        if source.get("emptyDir", {}).get("medium") == "Memory"
    }
    limits = container["resources"]["limits"]
    files = [
        (source["hostPath"]["path"], one["mountPath"], one.get("readOnly", False))
        for one, source in mounts
        if source.get("hostPath", {}).get("type") == "Directory"
    ]
    nodes = [one["mountPath"] for one, source in mounts if "hostPath" in source]
    chips = sum(int(value) for key, value in limits.items() if key.startswith("huawei.com/"))
    return {
        "user": who["runAsUser"],
        "group": who["runAsGroup"],
        "groups": sorted(who.get("supplementalGroups", [])),
        "root is read-only": what["readOnlyRootFilesystem"],
        "dropped": what["capabilities"]["drop"],
        "no new privileges": what["allowPrivilegeEscalation"] is False,
        "memory": size(limits["memory"]),
        "temporary": {path: limit for path, limit in memory.items() if path != "/dev/shm"},
        "shared memory": memory.get("/dev/shm", 0),
        "reaped": spec.get("shareProcessNamespace", False),
        "runtime": spec.get("runtimeClassName"),
        "swap": 0,
        "chips": chips or sum(bool(re.search(r"davinci\d+$", one)) for one in nodes),
        "GPUs": int(limits.get("nvidia.com/gpu", 0)),
        "host": sorted(files),
    }


OWN = ("/in", "/found")


def size(text: str) -> int:
    """Bytes, as compose or Kubernetes writes them."""
    match = re.fullmatch(r"(\d+)([kmgKMG]?)i?b?", text)
    assert match, text
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]


def built(place: Path, part: str) -> list[dict[str, Any]]:
    """What kubectl makes of a kustomization; skips where there is none that can."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    told = subprocess.run(
        [kubectl, "version", "--client", "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "kustomizeVersion" not in told.stdout:
        pytest.skip("this kubectl is too old: 1.24 or newer is needed")
    done = subprocess.run(
        [kubectl, "kustomize", str(place / part)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize(("target", "simulate"), ALL)
def test_compose_and_manifests_say_the_same(target: str, simulate: bool, tmp_path: Path) -> None:
    how = runtime.of(contexts.context(target, engine="docker", simulate=simulate))
    papers.write(tmp_path, FACTS, how)
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    found = kubernetes.subject(target, simulate=simulate, host_files=True)
    folder.write(found, tmp_path / "manifests")
    for part, kind in (("infer", "Job"), ("serve", "Deployment"), ("volcano/infer", "Job")):
        (one,) = [one for one in built(tmp_path / "manifests", part) if one["kind"] == kind]
        template = kubernetes.template(one)
        assert template is not None
        service = services["serve" if part == "serve" else "infer"]
        assert declared_by_pod(template) == declared_by_compose(service), part


CHANGES: list[tuple[str, Any, str]] = [
    ("user", "1001:1002", "user"),
    ("group_add", ["77"], "groups"),
    ("read_only", False, "root is read-only"),
    ("mem_limit", "3g", "memory"),
    ("tmpfs", ["/tmp:size=5m"], "temporary"),
    ("shm_size", "1g", "shared memory"),
    ("init", False, "reaped"),
    ("runtime", "ascend", "runtime"),
]


@pytest.mark.parametrize(("key", "value", "changed"), CHANGES)
def test_a_changed_declaration_changes_the_pods(
    key: str, value: Any, changed: str, tmp_path: Path
) -> None:
    found = kubernetes.subject("cpu")
    declared = {**found.runtime.declared, key: value}
    if key == "mem_limit":
        declared["memswap_limit"] = value
    other = replace(found, runtime=replace(found.runtime, declared=declared))
    before = pods(found, tmp_path / "a")["infer/job.yaml"]
    after = pods(other, tmp_path / "b")["infer/job.yaml"]
    a, b = declared_by_pod(before), declared_by_pod(after)
    assert [name for name in a if a[name] != b[name]] in ([changed], ["user", "group"])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("privileged", True, "privileged"),
        ("cap_drop", [], "capabilities"),
        ("security_opt", [], "privileges"),
        ("memswap_limit", "64g", "memswap_limit"),
        ("user", "somebody", "somebody"),
    ],
)
def test_what_a_pod_cannot_say_is_an_error(key: str, value: Any, said: str) -> None:
    found = kubernetes.subject("cpu")
    declared = {**found.runtime.declared, key: value}
    with pytest.raises((CascadeportError, ValueError), match=said):
        folder.content(replace(found, runtime=replace(found.runtime, declared=declared)))


def test_what_no_pod_can_say_is_listed() -> None:
    for target in TARGETS:
        found = kubernetes.subject(target)
        said = set(pod.template(found, "infer", ())["spec"])
        assert set(found.runtime.declared) >= set(pod.BEYOND)
        assert not said & set(pod.BEYOND)


# --- Pod Security Standards


def not_restricted(template: dict[str, Any]) -> set[str]:
    """What of a pod the standard `restricted` refuses, by its published list of controls."""
    spec = template["spec"]
    volumes = {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"),
        *("projected", "secret"),
    }
    found = set()
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            found.add(key)
    for one in spec["volumes"]:
        found |= set(one) - {"name"} - volumes
    who = spec["securityContext"]
    if not who.get("runAsNonRoot") or who.get("runAsUser") == 0:
        found.add("root")
    if who.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        found.add("seccomp")
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        what = container["securityContext"]
        if what.get("privileged") or what.get("allowPrivilegeEscalation") is not False:
            found.add("privileges")
        if "ALL" not in what["capabilities"]["drop"] or what["capabilities"].get("add"):
            found.add("capabilities")
        if any("hostPort" in port for port in container.get("ports", [])):
            found.add("hostPort")
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_pods_are_admitted_as_restricted(target: str, tmp_path: Path) -> None:
    found = kubernetes.subject(target)
    assert pod.is_restricted(found)
    for name, one in pods(found, tmp_path).items():
        assert not_restricted(one) == set(), name
        assert one["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize(("target", "simulate"), [("310P3", False), ("310", True)])
def test_files_of_the_host_are_all_that_is_not_restricted(
    target: str, simulate: bool, tmp_path: Path
) -> None:
    found = kubernetes.subject(target, simulate=simulate, host_files=True)
    assert [one["name"] for one in found.labels] == ["simulated"] * simulate
    folder.write(found, tmp_path)
    assert "does not admit them" in " ".join((tmp_path / "README.md").read_text().split())
    for part in ("infer", "serve", "volcano/infer"):
        for one in built(tmp_path, part):
            template = kubernetes.template(one)
            if template is not None:
                assert not_restricted(template) == {"hostPath"}


# --- the folder


@pytest.mark.parametrize("target", ["310", "cpu"])
def test_every_file_belongs_to_a_kustomization_that_builds(target: str, tmp_path: Path) -> None:
    found = kubernetes.subject(target, namespace="detect")
    files = {path.relative_to(tmp_path) for path in folder.write(found, tmp_path)}
    used = {Path("README.md"), Path(folder.ADAPTER)}
    for path in files:
        if path.name != "kustomization.yaml":
            continue
        value = yaml.safe_load((tmp_path / path).read_text())
        used.add(path)
        own = [*value["resources"], *(one["path"] for one in value.get("patches", []))]
        used |= {path.parent / one for one in own if one.endswith(".yaml")}
    assert files == used
    names = set()
    for part in (".", "merge", "volcano/infer", "volcano/serve"):
        for one in built(tmp_path, part):
            assert one["metadata"]["namespace"] == "detect"
            names.add((part, one["kind"]))
            if one["apiVersion"].startswith("batch.volcano.sh/"):
                continue
            for release in kubernetes.RELEASES:
                assert kubernetes.errors(one, release) == []
    assert ("volcano/serve", "Deployment") in names
    (deployment,) = [one for one in built(tmp_path, "volcano/serve") if one["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["schedulerName"] == "volcano"
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == ["serve"]


def test_selectors_find_the_pods_and_each_only_its_own(tmp_path: Path) -> None:
    found = kubernetes.subject("cpu")
    templates = pods(found, tmp_path)
    labels = {name: one["metadata"]["labels"] for name, one in templates.items()}

    def chosen(selector: dict[str, str]) -> set[str]:
        return {name for name, own in labels.items() if selector.items() <= own.items()}

    servers = {"serve/deployment.yaml"}
    values = {str(path.relative_to(tmp_path)): one for path, one in kubernetes.objects(tmp_path)}
    assert chosen(values["serve/service.yaml"]["spec"]["selector"]) == servers
    for name in ("deployment", "budget"):
        assert chosen(values[f"serve/{name}.yaml"]["spec"]["selector"]["matchLabels"]) == servers
    policy = values["serve/network.yaml"]["spec"]
    assert chosen(policy["podSelector"]["matchLabels"]) == servers
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy
    alone = values["infer/network.yaml"]["spec"]
    assert "egress" not in alone
    assert "ingress" not in alone
    (expression,) = alone["podSelector"]["matchExpressions"]
    assert set(expression["values"]) == {"infer", "merge"}
    scaled = values["serve/autoscaler.yaml"]["spec"]["scaleTargetRef"]["name"]
    assert scaled == values["serve/deployment.yaml"]["metadata"]["name"]
    assert "replicas" not in values["serve/deployment.yaml"]["spec"]


def test_a_fixed_number_of_servers_has_no_autoscaler() -> None:
    files = folder.content(kubernetes.subject("cpu", replicas="40"))
    assert yaml.safe_load(files["serve/deployment.yaml"])["spec"]["replicas"] == 40
    assert "serve/autoscaler.yaml" not in files
    assert folder.ADAPTER not in files


# --- a pod's life


def test_a_server_s_end_takes_no_longer_than_its_pod_is_given() -> None:
    spec = yaml.safe_load(folder.content(kubernetes.subject("cpu"))["serve/deployment.yaml"])
    template = spec["spec"]["template"]["spec"]
    (container,) = template["containers"]
    *_, code = container["lifecycle"]["preStop"]["exec"]["command"]
    pause = int(re.findall(r"sleep\((\d+)\)", code)[0])
    assert pause > 0
    assert template["terminationGracePeriodSeconds"] >= pause + Limits().stop_seconds + 5
    probe = container["startupProbe"]
    longest = probe["periodSeconds"] * probe["failureThreshold"]
    assert longest < spec["spec"]["progressDeadlineSeconds"]


def test_a_shard_is_not_tried_again_for_what_would_come_out_the_same() -> None:
    job = yaml.safe_load(folder.content(kubernetes.subject("cpu"))["infer/job.yaml"])["spec"]
    # What the API server demands besides the schema.
    assert job["completionMode"] == "Indexed"
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["podReplacementPolicy"] == "Failed"
    assert job["parallelism"] <= job["completions"]
    assert job["maxFailedIndexes"] <= job["completions"]
    (rule,) = [one for one in job["podFailurePolicy"]["rules"] if "onExitCodes" in one]
    assert rule["action"] == "FailIndex"
    assert rule["onExitCodes"]["values"] == [program._INCOMPLETE]
    assert rule["onExitCodes"]["containerName"] == job["template"]["spec"]["containers"][0]["name"]


# --- which image


def test_the_image_is_that_of_the_shipment_by_its_digest() -> None:
    found = kubernetes.subject("T4", shipped("T4"), image="registry.example:5000/detect/r101")
    assert found.image == "registry.example:5000/detect/r101@sha256:" + "3" * 64
    for text in folder.content(found).values():
        assert ":latest" not in text
    loaded = kubernetes.subject("T4", shipped("T4"))
    container = yaml.safe_load(folder.content(loaded)["infer/job.yaml"])
    container = container["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "cascadeport/some_detector-t4:2026.11.29-1a2b3c4d"
    assert container["imagePullPolicy"] == "Never"


def put(place: Path, one: Manifest) -> Path:
    """A shipment's folder, as far as its manifest."""
    found = place / f"{one.name}-{one.target}-{one.version}"
    found.mkdir(parents=True)
    write_json(found / "manifest.json", as_json(one))
    return found


def test_shipments_are_found_by_their_target_whatever_their_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = put(tmp_path, shipped("cpu-docker"))
    put(tmp_path, shipped("310P3-cann-6.0", "simulated"))
    dist = f"--dist={tmp_path}"
    assert main(["manifests", "cpu", dist]) == 0
    (place,) = (tmp_path / "manifests").iterdir()
    assert place.name.startswith("some-detector-cpu-docker-")
    assert main(["manifests", "310P3", dist]) == 0
    assert "SIMULATED" in next(tmp_path.glob("manifests/*310p3*/README.md")).read_text()
    assert main(["manifests", "310", dist]) == 2
    assert "There is no frozen image for 310." in capsys.readouterr().err
    assert main(["manifests", "T4", dist, "--shipment", str(first)]) == 2
    assert "The shipment is for target cpu-docker, not T4." in capsys.readouterr().err
    put(tmp_path, shipped("cpu"))
    assert main(["manifests", "cpu", dist]) == 2
    assert "There are 2 shipments for cpu." in capsys.readouterr().err
    assert main(["manifests", "cpu", dist, "--shipment", str(first)]) == 0


@pytest.mark.parametrize("label", ["simulated", "forced"])
def test_what_an_image_is_not_is_written_on_every_object(label: str, tmp_path: Path) -> None:
    found = kubernetes.subject("cpu", shipped("cpu", label))
    folder.write(found, tmp_path)
    wanted = f'It is {label}: "really".'
    for path, one in kubernetes.objects(tmp_path):
        assert one["metadata"]["annotations"][f"io.cascadeport/{label}"] == wanted, path
        assert path.read_text().splitlines()[1] == f"# {label.upper()}: {wanted}"
        template = kubernetes.template(one)
        if template is not None:
            assert template["metadata"]["annotations"][f"io.cascadeport/{label}"] == wanted
    assert label.upper() in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cpu"], "There is no frozen image for cpu."),
        (["cpu", "--image", "x"], "named without its digest"),
        (["cpu", "--image", "UPPER@sha256:1"], "no reference of an image"),
        (["cpu", "--image", kubernetes.IMAGE, "--replicas", "4-1"], "no number of servers"),
        (["cpu", "--image", kubernetes.IMAGE, "--namespace", "A_b"], "cannot be a name"),
        (["cpu", "--image", kubernetes.IMAGE, "--shards", "100001"], "at most 100000 shards"),
        (["cqu"], "perhaps you meant 'cpu'"),
    ],
)
def test_errors_are_sentences(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["manifests", *words, "--dist", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_the_command_writes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["manifests", "310P3", "--image", kubernetes.IMAGE, "--shards", "40"]
    assert main([*words, "--parallelism", "8", "--dist", str(tmp_path)]) == 0
    (place,) = (tmp_path / "manifests").iterdir()
    assert str(place) in capsys.readouterr().err
    job = yaml.safe_load((place / "infer" / "job.yaml").read_text())["spec"]
    assert (job["completions"], job["parallelism"]) == (40, 8)
    arguments = job["template"]["spec"]["containers"][0]["args"]
    assert arguments[-2:] == ["--shard", "/40"]
