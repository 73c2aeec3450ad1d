import re
from pathlib import Path

import pytest
from rows import predictions, row

from ner_lightning.analysis.compare import (
    decided,
    differing_settings,
    on_shared_sentences,
    recipes,
    repeated_seeds,
    shared_split,
)
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.failure import analyse
from ner_lightning.analysis.render.blocks import markdown
from ner_lightning.analysis.render.terminal_text import terminal
from ner_lightning.analysis.report.comparison import comparison
from ner_lightning.errors import UserError

WORDS = ["Vera", "Holt", "left", "Lima"]
GOLD = ["B-PER", "I-PER", "O", "B-LOC"]
BAD = ["O", "O", "O", "B-PER"]


def run(name, tags, splits=("valid",), **about):
    """A run that predicts these tags for as many sentences."""
    made = Experiment(name, None, files={split: Path(split) for split in splits}, **about)
    found = analyse(predictions([row(GOLD, each, 0.9, WORDS) for each in tags]))
    made.__dict__["splits"] = dict.fromkeys(splits, found)
    return made


GOOD_RUN = run("good/1", [GOLD] * 18 + [BAD] * 2)
BAD_RUN = run("bad/1", [GOLD] * 4 + [BAD] * 16)


def test_validation_comes_first_as_everywhere():
    both = [run(name, [GOLD], ("valid", "test")) for name in "ab"]
    assert shared_split(both) == "valid"
    assert shared_split(both, "test") == "test"
    assert shared_split([both[0], run("c", [GOLD], ("test",))]) == "test"


def test_runs_without_predictions_of_one_split_are_not_compared():
    runs = [run("a", [GOLD]), run("b", [GOLD], ("test",))]
    with pytest.raises(UserError, match=r"share no predictions of one split \(a: valid; b: test\)"):
        shared_split(runs)
    with pytest.raises(UserError, match="share no predictions of test"):
        shared_split(runs[:1], "test")


def test_scores_of_sentences_that_are_annotated_otherwise_are_not_compared():
    other = run("b", [GOLD])
    changed = analyse(predictions([row(["O", "O", "O", "B-LOC"], GOLD, 0.9, WORDS)]))
    other.__dict__["splits"] = {"valid": changed}
    with pytest.raises(UserError, match="a and b have other sentences or annotations in valid"):
        on_shared_sentences([run("a", [GOLD]), other], "valid")


@pytest.mark.parametrize("runs", [(GOOD_RUN, BAD_RUN), (BAD_RUN, GOOD_RUN)])
def test_which_run_is_better_is_said_in_words(runs):
    text = terminal(comparison(runs, "valid"))
    good, bad = ("A", "B") if runs[0] is GOOD_RUN else ("B", "A")
    flat = " ".join(text.split())
    assert (
        f"{good} (good/1) is better than {bad} (bad/1): F1 0.92 against 0.25, 0.67 higher (95% interval 0."
        in flat
    )
    assert "p < 0.001" in flat
    sign = "+" if good == "B" else "-"
    types = [line.split() for line in text.splitlines() if line.startswith(("PER", "LOC"))]
    assert [(cells[4][0], cells[-1]) for cells in types] == [(sign, good)] * 2
    assert max(map(len, text.splitlines())) <= 80


def test_what_chance_may_explain_is_no_victory():
    text = " ".join(
        terminal(comparison([run("a", [GOLD] * 19 + [BAD]), run("b", [GOLD] * 20)], "valid")).split()
    )
    assert "B (b) is not better than A (a) beyond chance: F1 1.00 against 0.96" in text
    same = " ".join(terminal(comparison([run("a", [BAD, GOLD]), run("b", [BAD, GOLD])], "valid")).split())
    assert "A (a) and B (b) have the same F1, 0.57." in same


def better(first, second):
    """The last cells of the table of F1 by type, by type."""
    text = terminal(comparison([run("a", first), run("b", second)], "valid"))
    rows = text.partition("F1 by type")[2].partition("\n\n")[0].splitlines()[2:]
    return {cells[0]: cells[-1] for cells in map(str.split, rows)}, " ".join(text.split())


def test_a_type_is_better_by_its_p_not_by_its_interval():
    """All four entities of B alone: its interval has no 0, though chance does that every eighth time."""
    cells, text = better([["O", "O", "O", "O"]] * 4 + [GOLD] * 16, [GOLD] * 20)
    assert cells == {"PER": "chance", "LOC": "chance"}
    assert "The intervals are not adjusted" in text


def test_the_p_of_a_type_is_adjusted_for_the_number_of_types():
    """Six against none is p = 0.03: beyond chance for one type, not for one of two."""
    one = [["O", "O", "O", "B-LOC"]] * 6 + [GOLD] * 14
    assert better(one, [GOLD] * 20)[0] == {"PER": "chance", "LOC": "chance"}
    eight = [["O", "O", "O", "B-LOC"]] * 8 + [GOLD] * 12
    assert better(eight, [GOLD] * 20)[0] == {"PER": "B", "LOC": "chance"}


def trained(name, data="sha256:a", weights="commit:1", **about):
    known = {"data": {"train": {"sentences": 7, "fingerprint": data}}, "backbone": {"weights": weights}}
    return run(name, [GOLD], config={"model": {"use_crf": True}}, about=known | about)


def test_runs_are_seeds_of_one_recipe_if_data_and_backbone_are_the_same():
    runs = [
        trained("a/1"),
        trained("a/2"),
        trained("other data", data="sha256:b"),
        trained("other weights", weights="commit:2"),
    ]
    assert [[one.name for one in group] for group in recipes(runs)] == [
        ["a/1", "a/2"],
        ["other data"],
        ["other weights"],
    ]


def test_a_seed_that_several_runs_have_is_no_deviation():
    runs = [trained("a/1", seed=3), trained("a/2", seed=3), trained("a/3", seed=4)]
    assert repeated_seeds(runs) == [3]
    text = " ".join(terminal(comparison(runs, "valid")).split())
    assert "seed 3 several times: none" in text
    assert repeated_seeds([runs[0], runs[2]]) == []


def test_ensembles_of_other_members_are_no_repeated_seed():
    made = [trained(name, seed=3, members=[{"seed": seed}]) for name, seed in (("a/1", 1), ("a/2", 2))]
    assert [bool(each.made_of) for each in made] == [True, True]
    assert repeated_seeds(made) == []


def test_prompts_are_no_seeds_of_a_training_or_of_each_other():
    prompt = {"shots": 0, "prompt_seed": 1, "seconds": 2.0, "answers": 3, "failed": 1}
    runs = [
        trained("trained"),
        trained("0shot/1", prompting=prompt),
        trained("0shot/2", prompting=prompt | {"prompt_seed": 2, "seconds": 5.0, "failed": 0}),
        trained("5shot", prompting=prompt | {"shots": 5}),
    ]
    assert [len(group) for group in recipes(runs)] == [1, 2, 1]
    assert differing_settings(runs) == {"prompting.shots": ["not prompted", "0", "0", "5"]}


def test_a_run_without_settings_leaves_the_others_to_be_compared():
    runs = [run("a.jsonl", [GOLD]), trained("b"), trained("c", weights="commit:2"), trained("d")]
    text = terminal(comparison(runs, "valid"))
    assert "The settings of A (a.jsonl) are not recorded" in text
    assert re.search(r"^setting +B +C +D$", text, flags=re.M)
    assert re.search(r"^backbone's weights +commit:1 +commit:2 +commit:1$", text, flags=re.M)
    same = " ".join(terminal(comparison([runs[0], runs[1], runs[3]], "valid")).split())
    assert "Settings, data and versions of B and C are the same" in same


def test_the_sentences_that_each_run_wins_are_shown_unless_text_is_left_out():
    first, second = run("a", [GOLD, BAD, GOLD]), run("b", [BAD, GOLD, GOLD])
    assert [(each.sentence, each.margin) for each in decided(first, second, "valid")] == [(0, 3), (1, -3)]
    text = terminal(comparison([first, second], "valid"))
    assert "Sentences that A wins: 1 of 1" in text
    assert "Sentences that B wins: 1 of 1" in text
    flat = " ".join(text.split())
    assert (
        "- valid, sentence 1: [Vera Holt PER] left [Lima LOC] (A: PER Vera Holt, LOC Lima; B: PER Lima)"
        in flat
    )
    without = markdown(comparison([first, second], "valid", text=False))
    assert "| A and B | 1 | 1 | 1 |" in without
    assert not any(word in without for word in WORDS)


def test_settings_that_differ_are_listed_and_seeds_are_not():
    data = {"train": {"sentences": 7, "fingerprint": "sha256:" + "a" * 64}}
    one = run(
        "a",
        [GOLD],
        config={
            "seed_everything": 1,
            "name": "a",
            "model": {"use_crf": True, "lora": {"rank": 8, "top": None}},
        },
        about={"data": data, "versions": {"torch": "2.1"}},
    )
    other = run(
        "b",
        [GOLD],
        config={
            "seed_everything": 2,
            "name": "b",
            "model": {"use_crf": False, "lora": {"rank": 8, "top": 4}},
        },
        about={"data": data, "versions": {"torch": "2.2"}},
    )
    assert differing_settings([one, other]) == {
        "model.use_crf": ["true", "false"],
        "model.lora.top": ["null", "4"],
        "version of torch": ["2.1", "2.2"],
    }
    text = terminal(comparison([one, other], "valid"))
    assert "model.lora.top" in text
    assert "rank" not in text
    assert "are not recorded" in " ".join(terminal(comparison([one, run("c", [GOLD])], "valid")).split())


def test_three_runs_with_long_names_fit_a_terminal():
    names = [
        "smollm2_conll2003_document_averaged/12",
        "smollm2_conll2003-pretrained-document/3",
        "quickstart/1",
    ]
    runs = [
        run(name, [GOLD] * size + [BAD] * (20 - size)) for name, size in zip(names, (4, 12, 20), strict=True)
    ]
    text = terminal(comparison(runs, "valid"))
    assert max(map(len, text.splitlines())) <= 80
    assert "p = " in text or "p < " in text
    assert "adjusted" in text
    assert "B - A" not in text


def test_runs_that_trained_otherwise_are_no_seeds_of_one_recipe():
    stopping = [{"class_path": "EarlyStopping", "init_args": {"patience": 1}}]
    plain = run("a", [GOLD], config={"trainer": {"callbacks": None}})
    early = run("b", [GOLD], config={"trainer": {"callbacks": stopping}})
    resumed = run(
        "c",
        [GOLD],
        config={"trainer": {"callbacks": []}},
        about={"earlier_settings": [{"epochs": 2, "settings": {"trainer.max_epochs": 2}}]},
    )
    assert len(recipes([plain, early, resumed])) == 3
    assert any("callbacks" in name for name in differing_settings([plain, early]))
    assert differing_settings([plain, resumed])


def test_how_a_run_is_watched_is_no_part_of_its_recipe():
    names = {"checkpoint_every_n_steps": (None, 10), "log_text": ("auto", "never"), "runs": ("a", "b")}
    for name, values in names.items():
        runs = [run(str(value), [GOLD], config={name: value}) for value in values]
        assert len(recipes(runs)) == 1, name


def test_data_differ_in_what_follows_their_digest():
    def of(name, rest):
        data = {"train": {"sentences": 10, "fingerprint": "sha256:" + "a" * 64 + rest}}
        return run(name, [GOLD], about={"data": data})

    taught = of("b", ", teacher 0123456789ab 1")
    assert differing_settings([of("a", ""), taught])["train data"][1].endswith("teacher 0123456789ab 1")
