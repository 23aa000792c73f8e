"""Checks packaging/ against the metrics of a run. Usage: check.py METRICS FOLDER; writes FOLDER/panels.yml for promtool."""
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
METRICS, FOLDER = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
failures = []


def check(name, is_right, why=""):
    print(f"{'ok' if is_right else 'FAILED'}: {name} {why if not is_right else ''}".rstrip())
    if not is_right:
        failures.append(name)


text = METRICS.read_text(encoding="utf-8")
kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
there = set(kinds) | {f"{name}_{suffix}" for name, kind in kinds.items() if kind == "histogram" for suffix in ("bucket", "sum", "count")}
labels = {}
for name, inside in re.findall(r"^(\w+)\{(.*)\} \S+$", text, re.M):
    for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', inside):
        labels.setdefault(name, {}).setdefault(label, set()).add(value)


def named(query):
    return set(re.findall(r"\b(?:keel|process)_[a-z_]+", query))


def values(query):
    """Label values that a query compares with, such as state="halted"."""
    for name, inside in re.findall(r"\b((?:keel|process)_[a-z_]+)\{([^}]*)\}", query):
        for label, value in re.findall(r'(\w+)="([^"]*)"', inside):
            if label not in ("job", "instance"):
                yield name, label, value


dashboard = json.loads((HERE / "grafana/keel.json").read_text(encoding="utf-8"))
panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
queries = [(f"panel '{panel['title']}'", target["expr"]) for panel in panels for target in panel["targets"]]
rules = (HERE / "prometheus/keel.rules.yml").read_text(encoding="utf-8")
queries += [(f"rule {name}", expr) for name, expr in re.findall(r"alert: (\w+)\n\s+expr: (.*)", rules)]
check("every rule was read", len(re.findall(r"- alert:", rules)) == sum(name.startswith("rule") for name, _ in queries))
for name, query in queries:
    missing = named(query) - there
    check(f"{name}: its metrics are there", not missing and (named(query) or "up{" in query), str(sorted(missing)))
    for metric, label, value in values(query):
        check(f"{name}: {metric} has {label}={value}", value in labels.get(metric, {}).get(label, ()), str(labels.get(metric)))
shown = set().union(*(named(query) for name, query in queries if name.startswith("panel")))
unseen = {name for name, kind in kinds.items() if not {name, f"{name}_bucket"} & shown}
check("the dashboard shows every metric", not unseen, str(sorted(unseen)))
ids = [panel["id"] for panel in dashboard["panels"]]
check("panels have numbers of their own", len(ids) == len(set(ids)))
cells = [(x, y) for panel in dashboard["panels"] for at in [panel["gridPos"]]
         for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
check("panels do not overlap and fit", len(cells) == len(set(cells)) and all(x < 24 for x, _ in cells))
lines = ["groups:", "  - name: panels", "    rules:"]
for at, (name, query) in enumerate(query for query in queries if query[0].startswith("panel")):
    query = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
    lines += [f"      - record: panel:{at}", f"        expr: {json.dumps(query)}"]
(FOLDER / "panels.yml").write_text("\n".join(lines).replace("panel:", "panel_") + "\n", encoding="utf-8")

# What the containers promise.
compose = (HERE / "docker/compose.yml").read_text(encoding="utf-8")
docker = (HERE / "docker/Dockerfile").read_text(encoding="utf-8")
unit = (HERE / "systemd/keel.service").read_text(encoding="utf-8")
grace = int(re.search(r"stop_grace_period: (\d+)s", compose)[1])
patience = int(re.search(r"TimeoutStopSec=(\d+)s", unit)[1])
check("containers and systemd wait longer than a stop may take", grace > 30 and patience > 30, f"{grace} s, {patience} s")
check("the container is nobody in particular", re.search(r"^USER [1-9]", docker, re.M) and 'user: "10001' in compose)
check("its health is readiness", "HEALTHCHECK" in docker and "/health/ready" in docker)
check("it may write to its volume only", "read_only: true" in compose and "cap_drop: [ALL]" in compose)
check("no token and no key stands in a file", not re.search(r"\b[0-9a-f]{64}\b", rules + compose + docker + unit))
sys.exit(1 if failures else 0)
