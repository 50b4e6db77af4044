import json
from pathlib import Path

from ruamel.yaml import YAML


def test_its_head_has_what_was_measured_as_hugging_face_reads_it(template: Path) -> None:
    _, head, text = (template / "model_card.md").read_text().split("---\n", 2)
    content = YAML(typ="safe").load(head)
    metrics = json.loads((template / "reports/models/good/evaluation/metrics.json").read_text())
    (entry,) = content["model-index"]
    (result,) = entry["results"]
    assert (entry["name"], result["task"]["type"]) == ("good", "time-series-classification")
    assert {"type", "name"} <= set(result["dataset"])
    found = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert found == {name: metrics[name] for name in found}
    assert {"accuracy", "macro_f1", "log_loss"} <= set(found)
    assert text.startswith("\n# good\n\nA GRU that classifies sequences")
    assert f"| Accuracy | {metrics['accuracy']:.4f} | {metrics['accuracy_low']:.4f} – " in text
