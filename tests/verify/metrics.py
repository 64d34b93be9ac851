"""Reads metrics as Prometheus does: python metrics.py URL. Prints a JSON object: each sample's name and labels, and its value."""

import json
import math
import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

with urllib.request.urlopen(sys.argv[1]) as answer:
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8", answer.headers
    text = answer.read().decode()

values = {}
names = set()
for family in text_string_to_metric_families(text):
    assert family.documentation.endswith("."), family
    assert family.name not in names, f"{family.name} is there twice"
    names.add(family.name)
    assert family.type in ("counter", "gauge", "histogram"), family
    series = {}
    for sample in family.samples:
        labels = dict(sample.labels)
        if family.type == "counter":
            assert sample.name == family.name + "_total" and sample.value >= 0, sample
        if family.type == "gauge":
            assert sample.name == family.name, sample
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family
            bound = labels.pop("le", None)
            known = series.setdefault(json.dumps(labels, sort_keys=True), {"buckets": []})
            if bound is None:
                known[sample.name.removeprefix(family.name)] = sample.value
            else:
                known["buckets"].append((float(bound), sample.value))
        key = sample.name + json.dumps(dict(sample.labels), sort_keys=True, separators=(",", ":"))
        assert key not in values, f"{key} is there twice"
        assert math.isfinite(sample.value), sample
        values[key] = sample.value
    for labels, known in series.items():
        bounds = [bound for bound, _ in known["buckets"]]
        counts = [count for _, count in known["buckets"]]
        assert bounds == sorted(bounds) and bounds[-1] == math.inf, (family.name, labels)
        assert counts == sorted(counts) and counts[-1] == known["_count"], (family.name, labels)
        assert (known["_sum"] > 0) == (known["_count"] > 0), (family.name, labels)
print(json.dumps(values))
