"""Which revision the backbones of a trained tagger have."""

import pytest
from jsonargparse import Namespace

from ner_lightning.model.pinning import JOINT, commit_in, pin, pinned

A, B = "a" * 40, "b" * 40
ONE = {"backbone": "lab/one", "revision": None}
TWO = {"backbone": "lab/two", "revision": "main"}


def test_the_commit_in_a_fingerprint():
    assert commit_in(f"commit:{A}") == commit_in(f"commit:{A} Prepare()") == A
    assert commit_in("sha256:" + A) is None
    assert commit_in("") is None


@pytest.mark.parametrize(
    ("settings", "name", "weights", "expected"),
    [
        (ONE, "lab/one", f"commit:{A}", [A]),
        (TWO, "lab/two", f"commit:{A}", [A]),  # a branch that is named moves on, too
        (ONE, "lab/other", f"commit:{A}", [None]),  # the user names another backbone
        (ONE, "lab/one", f"sha256:{A}", [None]),
        (ONE, "lab/one", None, [None]),
        (ONE | {"members": [TWO]}, "lab/one", JOINT.join([f"commit:{A}", f"commit:{B}"]), [A, B]),
        (ONE | {"members": [ONE]}, "lab/one", JOINT.join([f"commit:{A}", f"commit:{B}"]), [A, B]),
        (ONE | {"members": [TWO]}, "lab/one", JOINT.join([f"sha256:{A}", f"commit:{B}"]), [None, B]),
        (
            ONE | {"members": [ONE, TWO]},
            "lab/x",
            JOINT.join([f"commit:{A}"] * 2 + [f"commit:{B}"]),
            [None, None, B],
        ),
        (ONE | {"members": [TWO]}, "lab/one", f"commit:{A}", [None, "main"]),  # it cannot be told whose it is
    ],
)
def test_the_commit_of_the_training_is_the_revision(settings, name, weights, expected):
    found = pinned(settings, {"name": name, "weights": weights})
    assert [one["revision"] for one in (found, *found.get("members", ()))] == expected
    assert {**found, "revision": None, "members": None} == {**settings, "revision": None, "members": None}
    assert settings.get("members") in (None, [TWO], [ONE], [ONE, TWO])  # as they were


@pytest.mark.parametrize(
    ("asked", "trained", "expected"), [(None, None, A), ("v1", "v1", A), ("v1", None, "v1")]
)
def test_an_option_of_the_user_wins(asked, trained, expected):
    model = Namespace(backbone="lab/one", revision=asked, members=None)
    config = Namespace(model=model, data=Namespace(backbone_revision=asked))
    pin(config, {"revision": trained}, {"name": "lab/one", "weights": f"commit:{A}"})
    assert config.model.revision == config.data.backbone_revision == expected
    assert config.model.members is None
