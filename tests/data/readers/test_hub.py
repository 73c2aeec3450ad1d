"""Data sets and models from the Hub: the real client libraries against a server on this machine."""

import io
import json
import subprocess
import sys

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hub_server import HubServer
from huggingface_hub.errors import LocalEntryNotFoundError

from ner_lightning.system.hub_errors import HubUnavailableError, explain_hub_error

CONVERTED = "refs/convert/parquet"
TAGS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"]
TRAIN = [
    (["Ilsa", "Brandt", "left", "Norvik", "."], ["B-PER", "I-PER", "O", "B-LOC", "O"]),
    (["The", "Velora", "Trust", "objects", "."], ["O", "B-ORG", "I-ORG", "O", "O"]),
    (["A", "Tamric", "song"], ["O", "B-MISC", "O"]),
]
VALIDATION = [(["Oda", "Reyes", "waits"], ["B-PER", "I-PER", "O"])]
TEST = [(["Norvik", "sleeps"], ["B-LOC", "O"]), (["Nobody", "knows"], ["O", "O"])]

# Makes the calls that it is given as JSON, and prints what came of each.
LOADER = """
import dataclasses, json, logging, sys, time
from ner_lightning.data.readers.hub_dataset import load_hub
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.system.hub_access import check_model_access
from ner_lightning.errors import UserError

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
heavy = sorted({"datasets", "huggingface_hub", "torch"} & sys.modules.keys())

def load(name, *splits, **kwargs):
    splits = splits or ("train",)
    columns = {key: kwargs.pop(key) for key in list(kwargs) if key.endswith("_column")}
    options = ReadOptions(**columns)
    found = load_hub(name, splits=splits, **{"config": None, "revision": None, **kwargs}, options=options)
    return dataclasses.asdict(found) | {"sentences": [(s.words, s.tags, s.document) for s in found.sentences]}

def download(*args):
    from huggingface_hub import hf_hub_download

    hf_hub_download(*args)

functions = {"load": load, "model": check_model_access, "download": download}
results = []
for function, args, kwargs in json.loads(sys.argv[1]):
    start = time.monotonic()
    try:
        result = functions[function](*args, **kwargs)
    except UserError as error:
        result = {"error": str(error), "class": type(error).__name__}
    results.append((result, time.monotonic() - start))
print(json.dumps([heavy, results]))
"""


class Child:
    """A process with its own cache that takes the server for the Hub."""

    def __init__(self, hub, home):
        self.hub, self.home = hub, home
        self._calls, self._names = [], []

    def call(self, key, function, *args, **kwargs):
        """Adds a call; its result will be found under `key`."""
        self._names.append(key)
        self._calls.append((function, args, kwargs))

    def load(self, key, *args, **kwargs):
        self.call(key, "load", *args, **kwargs)

    def start(self, **env):
        """Makes all calls in one process; returns what waits for results and seconds by key."""
        running = start(self.hub, self.home, LOADER, json.dumps(self._calls), **env)

        def finish():
            heavy, results = json.loads(finished(running))
            found = dict(zip(self._names, results, strict=True))
            assert len(found) == len(results)
            seconds = {key: took for key, (_, took) in found.items()}
            return {key: result for key, (result, _) in found.items()} | {"heavy": heavy}, seconds

        return finish


def start(hub, home, code, *args, **env):
    """Runs code in a child process that takes the server for the Hub."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        env=hub.env(home, **env),
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(running):
    """Waits for a child process; returns the last line that it printed."""
    with running:
        out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err[-4000:]
    return out.splitlines()[-1]


def parquet(sentences, *, words="tokens", tags="ner_tags", names=TAGS, **columns):
    """A Parquet file as the Hub serves it; without `names` the tags are strings."""
    features = {words: List(Value("string")), tags: List(Value("string"))}
    if names is not None:
        features[tags] = List(ClassLabel(names=names))
    if tags == "ner_tags" and names is TAGS:  # CoNLL-2003 has further columns, which nobody asked for.
        columns |= {"id": [str(i) for i in range(len(sentences))]}
        columns |= {"pos_tags": [[0] * len(row) for row, _ in sentences]}
        features |= {"id": Value("string"), "pos_tags": List(ClassLabel(names=["NN", "VB"]))}
    features |= {name: Value("string") for name in columns.keys() - features.keys()}
    data = {words: [row for row, _ in sentences], tags: [row for _, row in sentences], **columns}
    buffer = io.BytesIO()
    Dataset.from_dict(data, features=Features(features)).to_parquet(buffer)
    return buffer.getvalue()


def tree(train=None, *, folder="data", **options):
    """Files of a data set with the three usual splits."""
    splits = {"train": train or TRAIN, "validation": VALIDATION, "test": TEST}
    return {
        f"{folder}/{split}-00000-of-00001.parquet": parquet(rows, **options) for split, rows in splits.items()
    }


def converted(folder, **splits):
    """Files of one configuration in the Hub's Parquet copy."""
    return {f"{folder}/{split}/0000.parquet": parquet(rows) for split, rows in splits.items()}


def populate(hub):
    """Fills the server; returns the commits that the tests ask about."""
    commits = {}
    script = {"README.md": b"# CoNLL\n", "conll2003.py": b"raise SystemExit('never run')\n"}
    commits["script"] = hub.add_repo("datasets", "eriktks/conll2003", script)
    conll = converted("conll2003", train=TRAIN, validation=VALIDATION, test=TEST)
    commits["conll"] = hub.add_repo("datasets", "eriktks/conll2003", conll, CONVERTED)
    hub.add_repo("datasets", "lab/onlyscript", {"onlyscript.py": b""})
    # A script with two configurations and a split whose name datasets would take for "test".
    hub.add_repo("datasets", "lab/many", {"many.py": b""})
    many = converted("en", train=TRAIN, test_2020=VALIDATION, test=TEST)
    many |= converted("xx", train=TEST, test_2020=TRAIN, test=TRAIN)
    hub.add_repo("datasets", "lab/many", many, CONVERTED)

    texts = parquet(TRAIN, words="words", tags="labels", names=None, doc=["a", "b", "a"])
    commits["strings"] = hub.add_repo("datasets", "lab/Strings", {"data/train-0.parquet": texts})
    hub.rename("strings", "lab/Strings")
    tagged = tree([(["Oda", "Reyes"], ["B-PER", "I-PER"])]) | {"README.md": b"# Tagged\n"}
    commits["tag"] = hub.add_repo("datasets", "lab/tagged", tagged, "v1.0")
    commits["main"] = hub.add_repo("datasets", "lab/tagged", tree() | {"README.md": b"# Tagged\n"})

    iob1 = [(["Oda", "met", "Ilsa"], ["I-PER", "O", "I-PER"])]
    rows = {
        "iob1": iob1,
        "docs": [(["-DOCSTART-"], ["O"]), TRAIN[0], ([], []), (["-DOCSTART-"], ["O"]), TRAIN[1]],
        "blank": [TRAIN[0], (["Oda", "\u200b\ufeff"], ["B-PER", "O"])],
        "uneven": [(["Oda", "Reyes"], ["B-PER"])],
        "untagged": [(["Oda"], [-1])],
        "empty": [([], [])],
    }
    for name, sentences in rows.items():
        hub.add_repo("datasets", f"lab/{name}", {"data/train-0.parquet": parquet(sentences)})
    malformed = parquet([TRAIN[0], (["Oda"], ["person"])], names=None)
    hub.add_repo("datasets", "lab/malformed", {"data/train-0.parquet": malformed})
    hub.add_repo("datasets", "lab/nothing", {"README.md": b"# Nothing\n"})
    for name, status in (("gated401", 401), ("gated403", 403), ("down", 503), ("hidden", 404)):
        for kind in ("datasets", "models"):
            hub.add_repo(kind, f"lab/{name}", {"config.json": b"{}"})
        hub.fail(f"lab/{name}", status)
    for name, times in (("dropped", None), ("hiccup", 1)):
        hub.add_repo("datasets", f"lab/{name}", {"data/train-0.parquet": parquet(TRAIN)})
        hub.drop(f"lab/{name}", times)
    commits["model"] = hub.add_repo("models", "lab/model", {"config.json": b"{}", "gguf/q8.gguf": b"GGUF"})
    return commits


@pytest.fixture(scope="module")
def commits():
    return {}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("hf")


@pytest.fixture(scope="module")
def hub(commits):
    # A page of two entries, so that listings take several requests.
    with HubServer(page_size=2) as server:
        commits |= populate(server)
        yield server


@pytest.fixture(scope="module")
def online(hub, home):
    """One process makes every call to a Hub that answers."""
    # The client gives up after five tries, a second apart; that is waited for beside the rest.
    broken = Child(hub, home / "broken")
    broken.home.mkdir()
    broken.load("dropped", "lab/dropped")
    dropped = broken.start()
    child = Child(hub, home)
    child.load("conll", "eriktks/conll2003")
    child.load("short", "conll2003", "validation")
    child.load("script", "eriktks/conll2003", revision="main")
    child.load("onlyscript", "lab/onlyscript")
    child.load("many", "lab/many", "test", config="en")
    child.load("other config", "lab/many", config="xx")
    child.load("odd split", "lab/many", "test_2020", config="en")
    child.load("many?", "lab/many")
    texts = {"words_column": "words", "tags_column": "labels"}
    child.load("strings", "lab/Strings", **texts)
    child.load("renamed", "strings", document_column="doc", **texts)
    child.load("no column", "lab/Strings", words_column="tokens")
    child.load("no list", "lab/Strings", words_column="doc", tags_column="labels")
    child.load("main", "lab/tagged")
    child.load("tag", "lab/tagged", revision="v1.0")
    child.load("no split", "lab/tagged", "dev", "devel")
    child.load("another name", "lab/tagged", "dev", "validation")
    child.load("no revision", "lab/tagged", revision="v2.0")
    child.load("no config", "lab/tagged", config="large")
    for name in ("iob1", "docs", "blank", "uneven", "untagged", "empty", "malformed", "nothing"):
        child.load(name, f"lab/{name}")
    for name in ("gated401", "gated403", "down", "hidden", "missing", "hiccup"):
        child.load(name, f"lab/{name}")
    child.load("bad name", "lab//x y")
    for name in ("model", "gated401", "gated403", "missing"):
        child.call(f"model {name}", "model", f"lab/{name}")
    child.call("fetch model", "download", "lab/model", "config.json")
    child.call("fetch GGUF", "download", "lab/model", "gguf/q8.gguf")
    child.call("model revision", "model", "lab/model", revision="v9")
    results, seconds = child.start()()
    return dropped()[0] | results, seconds


@pytest.fixture(scope="module")
def results(online):
    return online[0]


def error(result, *, lines=3):
    """The message of a call that failed as it should."""
    assert set(result) == {"error", "class"}, result
    assert 1 <= len(result["error"].splitlines()) <= lines
    return result["error"]


def sentences(result):
    assert "error" not in result, result["error"]
    return [(words, tags) for words, tags, _ in result["sentences"]]


def test_importing_the_module_imports_nothing_heavy(results):
    assert results["heavy"] == []


class TestConll:
    def test_script_is_replaced_by_the_parquet_copy(self, results, commits):
        found = results["conll"]
        assert sentences(found) == TRAIN
        assert found["types"] == ["PER", "ORG", "LOC", "MISC"]
        assert (found["revision"], found["requested"]) == (CONVERTED, None)
        assert found["commit"] == commits["conll"] != commits["script"]
        assert (found["dataset"], found["split"], found["rows"]) == ("eriktks/conll2003", "train", 3)
        assert not found["cached"]

    def test_short_name(self, results, commits):
        assert sentences(results["short"]) == VALIDATION
        assert results["short"]["commit"] == commits["conll"]

    def test_script_of_a_given_revision_is_an_error(self, results):
        message = error(results["script"], lines=2)
        assert "conll2003.py" in message
        assert CONVERTED in message

    def test_script_without_parquet_copy_is_an_error(self, results):
        assert "no Parquet copy" in error(results["onlyscript"], lines=2)

    def test_configurations_and_splits_of_the_copy_stay_apart(self, results):
        assert sentences(results["many"]) == TEST
        assert sentences(results["odd split"]) == VALIDATION
        assert sentences(results["other config"]) == TEST
        assert "en, xx" in error(results["many?"], lines=1)


class TestOtherDataSets:
    def test_string_tags_under_other_names(self, results, commits):
        found = results["strings"]
        assert sentences(found) == TRAIN
        assert found["types"] is None
        assert found["commit"] == commits["strings"]
        assert found["revision"] == "main"

    def test_document_column(self, results):
        assert [document for *_, document in results["renamed"]["sentences"]] == [0, 1, 0]

    def test_the_first_split_name_that_is_there_counts(self, results):
        assert sentences(results["another name"]) == VALIDATION
        assert results["another name"]["split"] == "validation"

    def test_renamed_data_set_is_followed(self, results):
        assert results["renamed"]["dataset"] == "lab/Strings"

    def test_revision(self, results, commits):
        assert results["tag"]["commit"] == commits["tag"]
        assert results["main"]["commit"] == commits["main"]
        assert sentences(results["tag"]) == [(["Oda", "Reyes"], ["B-PER", "I-PER"])]
        assert sentences(results["main"]) == TRAIN

    def test_other_schemes_become_bio2(self, results):
        assert sentences(results["iob1"]) == [(["Oda", "met", "Ilsa"], ["B-PER", "O", "B-PER"])]

    def test_rows_that_are_no_sentences(self, results):
        found = results["docs"]
        assert sentences(found) == TRAIN[:2]
        assert [document for *_, document in found["sentences"]] == [0, 1]
        assert found["rows"] == 5

    def test_resumes_after_a_broken_connection(self, results):
        assert sentences(results["hiccup"]) == TRAIN


class TestWrongData:
    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            ("blank", ["lab/blank[train]:1: ", "word ", "invisible", "--data.train", "empty_words"]),
            ("uneven", ["lab/uneven[train]:0: ", "2 words but 1 tags"]),
            ("untagged", ["[train]:0: ", "tag -1 "]),
            ("malformed", ["[train]:1: ", "malformed tag 'person'"]),
            ("empty", ["lab/empty[train]:1: ", "no sentence"]),
        ],
    )
    def test_row(self, results, key, expected):
        message = error(results[key], lines=3)
        assert all(text in message for text in expected), message
        assert results[key]["class"] == "DataError"

    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            ("no column", ["data.files.words_column", "'tokens'", "words, labels, doc"]),
            ("no list", ["lab/Strings[train]:0: ", "the entity 'B-PER' is malformed"]),
            ("no split", ["no split 'dev' or 'devel'", "train, validation, test"]),
            ("no config", ["'large'", "'default'"]),
            ("nothing", ["lab/nothing", "data files"]),
            ("bad name", ["lab//x y", "org/name"]),
        ],
    )
    def test_data_set(self, results, key, expected):
        message = error(results[key], lines=3)
        assert all(text in message for text in expected), message


class TestRefusals:
    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            ("gated401", ["/datasets/lab/gated401,", "hf auth login", "logged in"]),
            ("gated403", ["/datasets/lab/gated403,", "HF_TOKEN", "not on its list"]),
            ("missing", ["lab/missing", "hf auth login"]),
            ("hidden", ["lab/hidden", "hf auth login"]),
            ("no revision", ["lab/tagged", "no such revision", "--data.files.revision"]),
            ("down", ["lab/down", "503", "--data.dataset FILE"]),
            ("dropped", ["lab/dropped", "broke off", "--data.dataset FILE"]),
        ],
    )
    def test_data_set(self, results, key, expected):
        message = error(results[key])
        assert all(text in message for text in expected), message

    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            (
                "model gated401",
                ["/lab/gated401,", "logged in", "SmolLM2-135M-Instruct"],
            ),
            (
                "model gated403",
                ["/lab/gated403,", "not on its list", "--model.backbone"],
            ),
            ("model missing", ["/lab/missing;", "hf auth login"]),
            ("model revision", ["lab/model", "no such revision", "--model.revision"]),
        ],
    )
    def test_model(self, results, key, expected):
        message = error(results[key])
        assert message.startswith("model.backbone: ")
        assert all(text in message for text in expected), message

    def test_model_that_may_be_read(self, results, commits):
        assert results["model model"] == [commits["model"], False]

    def test_a_hub_out_of_order_is_not_waited_for(self, online):
        assert online[1]["down"] < 10


@pytest.fixture(scope="module")
def half_way(online, hub, home):
    """The data set has moved on, and the Hub fails after it has said so; returns the call's result."""
    newer = {"data/train-0.parquet": parquet(TEST), "README.md": b"# Tagged, again\n"}
    hub.add_repo("datasets", "lab/tagged", newer)
    hub.fail("lab/tagged", 404, files_only=True)
    child = Child(hub, home)
    child.load("moved", "lab/tagged")
    return child.start()()[0]["moved"]


def test_a_hub_that_fails_half_way_does_not_pass_old_data_for_new(half_way, commits):
    assert half_way["commit"] == commits["main"]
    assert half_way["cached"]
    assert sentences(half_way) == TRAIN


@pytest.fixture(scope="module")
def offline(half_way, hub, home):
    """One process makes its calls after the server is gone; a second with HF_HUB_OFFLINE."""
    hub.close()
    child = Child(hub, home)
    child.load("conll", "conll2003", "test")
    child.load("tag", "lab/tagged", revision="v1.0")
    child.load("many", "lab/many", "test_2020", config="en")
    child.load("other config", "lab/many", config="xx")
    child.load("no config", "lab/many", config="yy")
    child.load("other revision", "lab/tagged", revision="v2.0")
    child.load("never", "lab/never")
    child.call("model", "model", "lab/model")
    child.call("GGUF", "model", "lab/model", file="gguf/q8.gguf")
    child.call("model never", "model", "lab/never")
    closed, switched = child.start(), child.start(HF_HUB_OFFLINE="1")
    return closed(), switched()


@pytest.mark.parametrize("switch", [0, 1], ids=["closed port", "HF_HUB_OFFLINE"])
class TestOffline:
    def test_cached_copy_serves(self, offline, switch, commits):
        found = offline[switch][0]
        assert sentences(found["conll"]) == TEST
        assert found["conll"]["types"] == ["PER", "ORG", "LOC", "MISC"]
        assert found["conll"]["commit"] == commits["conll"]
        assert found["conll"]["revision"] == CONVERTED
        assert found["conll"]["cached"]
        assert found["tag"]["commit"] == commits["tag"]
        assert sentences(found["tag"]) == [(["Oda", "Reyes"], ["B-PER", "I-PER"])]
        assert sentences(found["many"]) == VALIDATION
        assert sentences(found["other config"]) == TEST

    def test_cached_model_serves(self, offline, switch, commits):
        for key in ("model", "GGUF"):
            assert offline[switch][0][key] == [commits["model"], True]

    @pytest.mark.parametrize("key", ["never", "no config", "other revision", "model never"])
    def test_what_is_not_cached_is_an_error(self, offline, switch, key):
        message = error(offline[switch][0][key])
        assert "cannot be loaded" in message
        assert ("HF_HUB_OFFLINE" in message) == bool(switch)

    def test_nothing_waits(self, offline, switch):
        assert max(offline[switch][1].values()) < 10


def raised(call):
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_bug_while_handling_a_hub_error_stays_a_bug():
    def handler():
        try:
            raise LocalEntryNotFoundError("not cached")
        except LocalEntryNotFoundError:
            return None + 1

    bug = raised(handler)
    assert isinstance(bug.__context__, LocalEntryNotFoundError)
    assert explain_hub_error(bug, "lab/model", "model") is None


def test_causes_and_contexts_of_os_errors_are_followed():
    def fetch():
        raise LocalEntryNotFoundError("not cached")

    def wrapped():
        try:
            fetch()
        except LocalEntryNotFoundError as error:
            raise RuntimeError("cannot load") from error

    def replaced():
        try:
            fetch()
        except LocalEntryNotFoundError:
            raise OSError("cannot load")  # noqa: B904 - as transformers does

    for call in (fetch, wrapped, replaced):
        assert isinstance(explain_hub_error(raised(call), "lab/model", "model"), HubUnavailableError)
    assert explain_hub_error(OSError("disk full"), "lab/model", "model") is None


# Loads a model with transformers, and prints what came of each try.
MODELS = """
import json
from transformers import AutoConfig, AutoModel, AutoTokenizer
from ner_lightning.system.hub_access import check_model_access
from ner_lightning.system.hub_errors import explain_hub_error

access = check_model_access("lab/tiny")
where = {"revision": access.commit, "local_files_only": access.local_files_only}
tokenizer = AutoTokenizer.from_pretrained("lab/tiny", **where)
model = AutoModel.from_pretrained("lab/tiny", **where)
words = tokenizer("Oda sees Norvik")["input_ids"]
results = {
    "class": type(model).__name__,
    "layers": len(model.layers),
    "weight": model.embed_tokens.weight[5].tolist(),
    "text": tokenizer.decode(words),
    "tokens": len(words),
}
for name, revision in (("gated401", None), ("gated403", None), ("missing", None), ("tiny", "v9")):
    for kind in (AutoConfig, AutoTokenizer):
        try:
            kind.from_pretrained(f"lab/{name}", revision=revision or "main")
        except OSError as error:
            explained = explain_hub_error(error, f"lab/{name}", "model")
            results[f"{name} {kind.__name__}"] = explained and str(explained)
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, show_progress=False)
    byte_level.train_from_iterator([" ".join(words) for words, _ in TRAIN + TEST], trainer)
    PreTrainedTokenizerFast(tokenizer_object=byte_level).save_pretrained(folder)
    model = LlamaModel(
        LlamaConfig(
            vocab_size=byte_level.get_vocab_size(),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )
    model.save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with HubServer() as server:
        server.add_repo("models", "lab/tiny", files)
        for status in (401, 403):
            server.add_repo("models", f"lab/gated{status}", files)
            server.fail(f"lab/gated{status}", status)
        results = json.loads(finished(start(server, tmp_path_factory.mktemp("models"), MODELS)))
        results["saved weight"] = model.embed_tokens.weight[5].tolist()
        yield results


@pytest.mark.slow
class TestModels:
    def test_model_and_tokenizer_load(self, models):
        assert (models["class"], models["layers"]) == ("LlamaModel", 2)
        assert models["weight"] == models["saved weight"]
        assert models["text"] == "Oda sees Norvik"
        assert models["tokens"] > 3

    @pytest.mark.parametrize("kind", ["AutoConfig", "AutoTokenizer"])
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("gated401", "is gated, and nobody is logged in"),
            ("gated403", "is gated, and this account is not on its list"),
            ("missing", "is not on the Hugging Face Hub"),
            ("tiny", "has no such revision"),
        ],
    )
    def test_what_transformers_raises_is_explained(self, models, kind, name, expected):
        message = models[f"{name} {kind}"]
        assert message.startswith(f"model.backbone: lab/{name} {expected}"), message
