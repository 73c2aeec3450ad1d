"""Where an export is written: to a new folder, or to an empty one, which stays the same folder."""

import shutil
from pathlib import Path

import pytest
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.runs.folder import MANIFEST


def exported(run, output):
    return main(["export", str(run), "--output", output, "--format", "adapter"])


@pytest.fixture
def adapter(tmp_path, llama, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_checkpoint(tmp_path, llama, peft="lora", lora={"rank": 2}).resolve()


def test_an_empty_folder_gets_the_files_and_stays(adapter, monkeypatch, capsys):
    here = Path("here")
    here.mkdir()
    folder = here.stat().st_ino
    monkeypatch.chdir(here)
    assert exported(adapter, ".") == 0
    assert Path("../here").stat().st_ino == folder
    names = sorted(file.name for file in Path().iterdir())
    assert MANIFEST in names
    assert not [name for name in names if name.endswith(".tmp")]
    assert Path("README.md").read_text(encoding="utf-8").splitlines().count("# here") == 1
    assert NERTagger.from_run(".")("Vera Holt left Lima.").text
    assert exported(adapter, ".") == 2
    assert "--output . already exists" in capsys.readouterr().err


def test_a_link_to_an_empty_folder_stays_a_link(adapter):
    Path("real").mkdir()
    Path("link").symlink_to("real")
    assert exported(adapter, "link") == 0
    assert Path("link").is_symlink()
    assert Path("real", MANIFEST).is_file()


def test_a_folder_whose_parent_is_not_ours_to_write(adapter, monkeypatch):
    """As a volume of a container is; the tests may run as root, to whom all is allowed."""
    Path("above/volume").mkdir(parents=True)
    made = Path.mkdir

    def mkdir(path, *args, **options):
        if path.parent.resolve() == Path("above").resolve():
            raise PermissionError(13, "Permission denied", str(path))
        made(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert exported(adapter, "above/volume") == 0
    assert Path("above/volume", MANIFEST).is_file()


@pytest.mark.parametrize("target", ["nowhere", "dangling"])
def test_a_link_to_nothing_is_refused_before_anything_is_read(tmp_path, monkeypatch, capsys, target):
    monkeypatch.chdir(tmp_path)
    Path("dangling").symlink_to(target)
    assert exported("no/such/run", "dangling") == 2
    assert "--output dangling is a link to nothing; name a new folder" in capsys.readouterr().err


def test_the_manifest_comes_last_and_nothing_is_left_of_a_failure(adapter, monkeypatch):
    Path("out").mkdir()
    moved = []
    replace = Path.replace

    def tell(path, target):
        moved.append(Path(target).name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", tell)
    assert exported(adapter, "out") == 0
    assert moved[-1] == MANIFEST
    shutil.rmtree("out")
    Path("out").mkdir()

    def fails(*args, **options):
        raise RuntimeError("stopped")

    monkeypatch.setattr("ner_lightning.export.exported_folder.model_card", fails)
    with pytest.raises(RuntimeError, match="stopped"):
        exported(adapter, "out")
    assert not list(Path("out").iterdir())
