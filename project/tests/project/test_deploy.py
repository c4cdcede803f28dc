"""The files in `deploy` for systemd and Kubernetes are valid, and agree with the service."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # has no stubs
import pytest
import yaml  # type: ignore[import-untyped] # the stubs would be for this file alone

from app.settings import Settings
from songbook.config import check_production
from tests.support.paths import PROJECT, ROOT

SYSTEMD = ROOT / "deploy" / "systemd"
UNIT = (SYSTEMD / "songbook.service").read_text()
OPENAPI = (ROOT / "docs" / "openapi.json").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
MANIFESTS: dict[str, dict[str, Any]] = {
    manifest["kind"]: manifest
    for manifest in yaml.safe_load_all((ROOT / "deploy/kubernetes/songbook.yaml").read_text())
}
POD: dict[str, Any] = MANIFESTS["Deployment"]["spec"]["template"]
CONTAINERS = [*POD["spec"]["initContainers"], *POD["spec"]["containers"]]
SERVICE = CONTAINERS[-1]
LABELS = POD["metadata"]["labels"]

RESPONSE_SECONDS = 20
"""What uvicorn gives responses in progress (`timeout_graceful_shutdown`)."""

NAMES = {name.upper() for name in Settings.model_fields}

with_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="there is no systemd here"
)


def units(folder: Path) -> list[str]:
    """Return the paths of the units as they are on a machine where the service is installed."""
    for unit in SYSTEMD.iterdir():
        text = unit.read_text().replace("/opt/songbook/project", str(PROJECT))
        python = Path(sys.executable).parent
        (folder / unit.name).write_text(text.replace("/opt/songbook/.venv/bin", str(python)))
    return sorted(map(str, folder.iterdir()))


def unit_values(name: str) -> list[str]:
    """Return the values of a setting of the service's unit."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def commands(section: str) -> list[str]:
    """Return the commands in a section of the document."""
    [text] = re.findall(rf"^### {section}$(.*?)^##", OPERATIONS, re.DOTALL | re.MULTILINE)
    return re.findall(r"^    (.*)$", text, re.MULTILINE)


@with_systemd
def test_systemd_has_no_complaint_about_the_units(tmp_path: Path) -> None:
    command = ["systemd-analyze", "verify", *units(tmp_path)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)

    # what the machine itself has installed is no matter of ours
    told = [line for line in verified.stderr.splitlines() if "songbook" in line]
    assert (verified.returncode, told) == (0, [])


@with_systemd
def test_systemd_finds_the_service_little_exposed(tmp_path: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15"]
    [unit] = [path for path in units(tmp_path) if path.endswith(".service")]
    rated = subprocess.run([*command, unit], capture_output=True, text=True, check=False)

    assert rated.returncode == 0, rated.stdout


def test_the_unit_waits_for_the_drain_and_sets_only_what_is_a_setting() -> None:
    drain = Settings.model_fields["drain_seconds"].default
    assert int(unit_values("TimeoutStopSec")[0]) > drain + RESPONSE_SECONDS
    names = re.findall(r"([A-Z_]+)=", " ".join(unit_values("Environment")))
    assert {name.removesuffix("_FILE") for name in names} <= NAMES
    secrets = [value.partition(":")[0] for value in unit_values("LoadCredential")]
    for secret in secrets:
        assert f"{secret.upper()}_FILE=%d/{secret}" in UNIT
        assert f"/etc/songbook/{secret}" in OPERATIONS


def test_the_commands_of_the_document_write_what_the_unit_reads(tmp_path: Path) -> None:
    lines = [line for line in commands("With systemd") if "/etc/songbook" in line]
    (tmp_path / "etc").mkdir()
    script = "\n".join(lines).replace("sudo ", "").replace("/etc/", f"{tmp_path}/etc/")
    subprocess.run(["sh", "-euc", script], check=True)

    written = {path.name: path for path in (tmp_path / "etc" / "songbook").iterdir()}
    names = {value.partition(":")[0] for value in unit_values("LoadCredential")}
    assert set(written) == {*names, "environment"}
    assert {path.stat().st_mode & 0o777 for path in written.values()} == {0o600}
    variables = dict(line.split("=") for line in written["environment"].read_text().splitlines())
    assert set(variables) <= NAMES
    given: dict[str, Any] = {name: written[name].read_text().strip() for name in names}
    check_production(Settings(environment="prod", **given))


@pytest.mark.parametrize("kind", sorted(MANIFESTS))
def test_a_manifest_has_the_schema_of_kubernetes(kind: str) -> None:
    newest = kubernetes_validate.latest_version()
    kubernetes_validate.validate(MANIFESTS[kind], newest, strict=True)


def test_the_pod_waits_for_the_drain_which_outlasts_two_probes() -> None:
    drain = float(environment()["DRAIN_SECONDS"])
    probe = SERVICE["readinessProbe"]
    assert POD["spec"]["terminationGracePeriodSeconds"] > drain + RESPONSE_SECONDS
    assert drain > 2 * probe["periodSeconds"] + probe["timeoutSeconds"]
    assert probe["failureThreshold"] * probe["periodSeconds"] < drain
    assert MANIFESTS["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_probes_ask_what_the_service_answers() -> None:
    ports = {port["name"]: port["containerPort"] for port in SERVICE["ports"]}
    for name in ("startup", "readiness", "liveness"):
        probe = SERVICE[f"{name}Probe"]["httpGet"]
        assert probe["port"] == "http"
        assert f'"{probe["path"]}"' in OPENAPI
    dockerfile = (PROJECT / "Dockerfile").read_text()
    assert f"PORT={ports['http']}" in dockerfile
    assert f"--uid {POD['spec']['securityContext']['runAsUser']} " in dockerfile


def test_prometheus_finds_the_port_of_the_metrics() -> None:
    ports = {port["name"]: port["containerPort"] for port in SERVICE["ports"]}
    port = POD["metadata"]["annotations"]["prometheus.io/port"]
    assert port == environment()["METRICS_PORT"] == str(ports["metrics"])


def environment() -> dict[str, str]:
    """Return the variables of the service."""
    return {each["name"]: each["value"] for each in SERVICE["env"]}


def test_the_variables_are_settings_and_the_secrets_those_that_the_document_creates() -> None:
    assert {name.removesuffix("_FILE") for name in environment()} <= NAMES
    [volume] = [each["secret"] for each in POD["spec"]["volumes"] if "secret" in each]
    [folder] = [each["mountPath"] for each in SERVICE["volumeMounts"] if each["name"] == "secrets"]
    command = f"kubectl create secret generic {volume['secretName']} "
    [created] = [line for line in commands("In Kubernetes") if line.startswith(command)]
    for name, value in environment().items():
        if name.endswith("_FILE"):
            assert value == f"{folder}/{name.removesuffix('_FILE').lower()}"
            assert f"/{Path(value).name}" in created


def test_the_pod_asks_for_no_right_that_the_restricted_standard_forbids() -> None:
    """The Pod Security Standards, of which `restricted` is the strictest."""
    pod = POD["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all(set(volume) <= {"name", "emptyDir", "secret"} for volume in pod["volumes"])
    for container in CONTAINERS:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not any("hostPort" in port for port in container.get("ports", ()))
        assert container["resources"]["limits"]["memory"]


def test_the_selectors_find_the_pods() -> None:
    specs = {kind: manifest["spec"] for kind, manifest in MANIFESTS.items()}
    assert specs["Service"]["selector"] == LABELS
    assert specs["Deployment"]["selector"]["matchLabels"] == LABELS
    assert specs["PodDisruptionBudget"]["selector"]["matchLabels"] == LABELS
    assert specs["NetworkPolicy"]["podSelector"]["matchLabels"] == LABELS
    assert {port["targetPort"] for port in specs["Service"]["ports"]} == {"http"}
