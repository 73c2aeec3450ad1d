"""Digests cover what is read, and nothing else."""

from ner_lightning.system.digests import digest_of


def test_a_digest_is_of_what_is_read(tmp_path):
    text, folder, other = tmp_path / "a.txt", tmp_path / "folder", tmp_path / "other"
    text.write_text("Vera left.", encoding="utf-8")
    alone = digest_of(text)
    seen = {alone}
    for ann in ("T1\tPER 0 4\tVera\n", "T1\tORG 0 4\tVera\n"):
        text.with_suffix(".ann").write_text(ann, encoding="utf-8")
        seen.add(digest_of(text))
    assert len(seen) == 3, "brat's annotation counts"
    for each in (folder, other):
        each.mkdir()
        (each / "a.txt").write_text("Vera left.", encoding="utf-8")
    before = digest_of(folder)
    for name in (".DS_Store", "cache-1a2b.arrow"):
        (folder / name).write_text("x", encoding="utf-8")
    assert digest_of(folder) == before, "hidden files are not read"
    (folder / "more").symlink_to(other, target_is_directory=True)
    assert digest_of(folder) != before, "linked folders are"
