"""Helm's own engine over the chart: chart.py VERB CHART [VALUES], the values as JSON.

  lint      ends with what `helm lint --strict` complains of
  manifest  prints what `helm template` would, as release probe502 in namespace probe502
  objects   prints its objects as JSON, each judged by Kubernetes' own strict schema, or by one of ours
"""

import json
import pathlib
import sys

import helm_python
import jsonschema
import kubernetes_validate
import yaml

# The order in which Helm installs what the chart has.
KINDS = [
    "Namespace", "NetworkPolicy", "ServiceAccount", "ConfigMap", "ClusterRole", "ClusterRoleBinding",
    "DaemonSet", "PodMonitor",
]
# Kinds of the Prometheus operator, which Kubernetes has no schema for.
FOREIGN = {"PodMonitor": "podmonitor.schema.json"}
# The oldest and the newest that have every field which the default values use.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]


def documents(chart, values):
    """Each rendered object, as text below the name of its template."""
    with helm_python.Chart.load(chart) as loaded:
        rendered = loaded.render(values, name="probe502", namespace="probe502")
    found = []
    for path, text in rendered.items():
        if path.endswith("NOTES.txt"):
            continue
        for document in text.split("\n---\n"):
            if document.strip():
                found.append(f"---\n# Source: {path}\n{document.strip()}\n")
    return sorted(found, key=lambda text: KINDS.index(yaml.safe_load(text)["kind"]))


def judged(text):
    """The object, which must keep to its schema to the letter."""
    found = yaml.safe_load(text)
    if schema := FOREIGN.get(found["kind"]):
        text = pathlib.Path(__file__).with_name(schema).read_text()
        jsonschema.validate(found, json.loads(text), jsonschema.Draft7Validator)
        return found
    for version in VERSIONS:
        kubernetes_validate.validate(found, version, strict=True)
    return found


def lint(chart, values):
    report = helm_python.lint(chart, values, strict=True)
    # An icon is a recommendation.
    said = [one for one in report["messages"] if "icon is recommended" not in one["error"]]
    if said or report["errors"]:
        sys.exit(f"{said} {report['errors']}")


def main():
    verb, chart, *rest = sys.argv[1:]
    values = json.loads(rest[0]) if rest else {}
    if verb == "lint":
        lint(chart, values)
    elif verb == "manifest":
        sys.stdout.write("".join(documents(chart, values)))
    else:
        print(json.dumps([judged(text) for text in documents(chart, values)]))


main()
