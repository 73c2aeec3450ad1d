import json
from pathlib import Path

import pytest
import record
import results
import train_step
from seqeval.metrics import f1_score, precision_score, recall_score

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(tmp_path):
    """A finished run folder, as small as can be."""
    pairs = [
        (["B-PER", "I-PER", "O"], ["B-PER", "I-PER", "O"]),
        (["B-LOC", "O", "B-ORG"], ["B-ORG", "O", "B-ORG"]),
        (["O", "O"], ["O", "B-PER"]),
    ]
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    lines = [json.dumps({"gold": g, "predicted": p}) for g, p in pairs]
    (tmp_path / "predictions.test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    metrics = {
        "test/precision": precision_score(gold, predicted),
        "test/recall": recall_score(gold, predicted),
        "test/f1": f1_score(gold, predicted),
        "test/accuracy": 6 / 8,
    }
    (tmp_path / "metrics.json").write_text(json.dumps({k: float(v) for k, v in metrics.items()}))
    about = {
        "command": ["ner-lightning", "fit", "--name=x", "--config", "configs/a.yaml", "--model.lr", "1"],
        "seed": 1,
        "machine": "here",
        "versions": {},
        "commit": "abc",
        "data": {"test": {"origin": "/somewhere/test.txt", "fingerprint": "sha256:0123456789abcdef01"}},
    }
    (tmp_path / "run.json").write_text(json.dumps(about))
    return tmp_path


def test_recorded_counts_are_seqevals(run, tmp_path):
    file = tmp_path / "results.json"
    assert record.main([str(run), "--file", str(file)]) == 0
    rows = {row["metric"]: row for row in results.read(file)}
    held = [json.loads(line) for line in (run / "predictions.test.jsonl").read_text().splitlines()]
    gold, predicted = [r["gold"] for r in held], [r["predicted"] for r in held]
    assert rows["f1"]["value"] == pytest.approx(f1_score(gold, predicted))
    assert rows["precision"]["value"] == pytest.approx(precision_score(gold, predicted))
    assert rows["recall"]["value"] == pytest.approx(recall_score(gold, predicted))
    assert rows["f1"]["entities"] == {"correct": 2, "predicted": 4, "gold": 3}
    assert rows["f1"]["config"] == "a"
    assert rows["f1"]["overrides"] == ["--model.lr 1"]
    assert rows["f1"]["data"] == "test.txt sha256:0123456789abcdef"
    before = file.read_text()
    record.main([str(run), "--file", str(file)])  # the same run again replaces its rows
    assert file.read_text() == before


def test_predictions_that_do_not_give_the_score_are_refused(run, tmp_path):
    text = (run / "predictions.test.jsonl").read_text()
    (run / "predictions.test.jsonl").write_text(text.replace('"B-LOC"', '"B-ORG"'))
    with pytest.raises(SystemExit, match="but the run noted"):
        record.main([str(run), "--file", str(tmp_path / "results.json")])
    assert not (tmp_path / "results.json").exists()


def test_every_recorded_row_is_whole():
    rows = results.read()
    assert rows
    for row in rows:
        assert set(results.FIELDS) <= set(row)
        assert "/work" not in json.dumps(row)
    assert len({results.key(row) for row in rows}) == len(rows)


def test_tables_of_the_docs_are_those_of_the_results():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    assert any(results.MARKED.search(page.read_text(encoding="utf-8")) for page in pages)
    assert results.main(["--check", *map(str, pages)]) == 0


def test_a_stale_table_is_noticed_and_renewed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results: smollm2 -->\nold\n<!-- end -->\nafter\n")
    assert results.main(["--check", str(page)]) == 1
    assert results.main(["--write", str(page)]) == 0
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert results.main(["--check", str(page)]) == 0


def test_a_row_without_its_commit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lacks commit"):
        results.add([dict.fromkeys(set(results.FIELDS) - {"commit"})], tmp_path / "r.json")


def test_training_speed_is_measured_side_by_side(llama, corpus, tmp_path, capsys):
    file = tmp_path / "results.json"
    options = ["--rounds", "2", "--steps", "1", "--warmup", "1", "--batch", "4", "--no-compile"]
    paths = ["--data", str(corpus), "--backbone", str(llama), "--record", str(file)]
    assert train_step.main([*options, *paths]) == 0
    assert "times as fast" in capsys.readouterr().out
    rows = {row["metric"]: row["value"] for row in results.read(file)}
    assert len(rows) == 3
    assert all(value > 0 for value in rows.values())
    assert "| ours, sub-tokens/s |" in results.speed(results.read(file))
    assert train_step.main(["--data", str(tmp_path / "nowhere")]) == 2
