"""The same two sentences in every format that is read; docs/formats.md is made from them."""

from collections.abc import Mapping
from typing import NamedTuple

WORDS = [("Brinda", "Okafor", "moved", "to", "Tarvo", "."), ("Nobody", "wrote", ".")]
TAGS = [("B-PER", "I-PER", "O", "O", "B-LOC", "O"), ("O", "O", "O")]


class Example(NamedTuple):
    """A file in one of the formats.

    Attributes:
        format: its name for `data.files.format`.
        title: what it is called.
        source: the tools or data sets that have it.
        files: the text of each file by its name; the first is read, or the folder if there are several.
        options: what must be set under `data.files`.
        code: Python that writes the file or folder `name`, of which the text is not shown.
        name: what `code` writes.
        note: what else to know.
    """

    format: str
    title: str
    source: str
    files: Mapping[str, str] = {}
    options: Mapping[str, str] = {}
    code: str = ""
    name: str = ""
    note: str = ""


def _rows(rows: str, between: str = " ") -> str:
    """Lines of cells, aligned for reading, with one separator between them."""
    return "\n".join(between.join(line.split()) for line in rows.strip("\n").split("\n")) + "\n"


EXAMPLES = {
    "columns": Example(
        "conll",
        "CoNLL columns, BIO2",
        "CoNLL-2003, many corpora",
        {
            "train.conll": _rows("""
-DOCSTART- O

Brinda B-PER
Okafor I-PER
moved  O
to     O
Tarvo  B-LOC
.      O

Nobody O
wrote  O
.      O
""")
        },
        note="One word per line, a blank line after each sentence; `-DOCSTART-` begins a document. "
        "Columns are separated by spaces, or by tabs alone where there are tabs.",
    ),
    "bioes": Example(
        "conll",
        "CoNLL columns, BIOES",
        "Flair, Stanza",
        {
            "train.bio": _rows("""
Brinda B-PER
Okafor E-PER
moved  O
to     O
Tarvo  S-LOC
.      O

Nobody O
wrote  O
.      O
""")
        },
        note="IOB1, BIO2, BIOES and BILOU are told apart for each file.",
    ),
    "index": Example(
        "conll",
        "CoNLL columns with an index, several columns",
        "corpora with parts of speech and phrases",
        {
            "train.tsv": _rows(
                """
1 Brinda NNP B-NP B-PER
2 Okafor NNP I-NP I-PER
3 moved  VBD B-VP O
4 to     TO  B-PP O
5 Tarvo  NNP B-NP B-LOC
6 .      .   O    O

1 Nobody NN  B-NP O
2 wrote  VBD B-VP O
3 .      .   O    O
""",
                "\t",
            )
        },
        note="A column that counts the words, parts of speech and chunks are recognised and left out.",
    ),
    "two tag columns": Example(
        "conll",
        "CoNLL columns with two columns of entities",
        "GermEval 2014: outer and nested entities",
        {
            "train.tsv": _rows(
                """
1 Brinda B-PER O
2 Okafor I-PER B-ORG
3 moved  O     O
4 to     O     O
5 Tarvo  B-LOC O
6 .      O     O

1 Nobody O     O
2 wrote  O     O
3 .      O     O
""",
                "\t",
            )
        },
        {"tags_column": "2"},
        note="Columns are numbered from 0. Without the option, the file is refused.",
    ),
    "header": Example(
        "conll",
        "CoNLL columns below a header",
        "tables that were saved as text",
        {
            "train.tsv": _rows(
                """
surface pos gold
Brinda NNP B-PER
Okafor NNP I-PER
moved  VBD O
to     TO  O
Tarvo  NNP B-LOC
.      .   O

Nobody NN  O
wrote  VBD O
.      .   O
""",
                "\t",
            )
        },
        {"words_column": "surface", "tags_column": "gold"},
        note="Names of the header may be given instead of numbers.",
    ),
    "bare types": Example(
        "conll",
        "CoNLL columns, types without B- and I-",
        "older corpora, Stanford NER",
        {
            "train.conll": _rows("""
Brinda PER
Okafor PER
moved  O
to     O
Tarvo  LOC
.      O

Nobody O
wrote  O
.      O
""")
        },
        note="Neighbouring words of one type are read as one entity, with a notice.",
    ),
    "suffixes": Example(
        "conll",
        "CoNLL columns, PER_B",
        "corpora with other ways to write tags",
        {
            "train.conll": _rows("""
Brinda PER_B
Okafor PER_I
moved  O
to     O
Tarvo  LOC_B
.      O

Nobody O
wrote  O
.      O
""")
        },
        note="So are `B_PER`, `PER-B` and `b-per`, with a notice; `_`, `-`, `0` and `o` may stand for `O`.",
    ),
    "csv words": Example(
        "csv",
        "CSV with a word per row",
        "spreadsheets, Kaggle",
        {
            "train.csv": _rows("""
sentence_id,word,tag
1,Brinda,B-PER
1,Okafor,I-PER
1,moved,O
1,to,O
1,Tarvo,B-LOC
1,.,O
2,Nobody,O
2,wrote,O
2,.,O
""")
        },
        note="Commas, semicolons, tabs, or vertical bars alone; a first line `sep=;` names what it is. A "
        "sentence ends where the cell of `sentence`, `sentence_id`, `Sentence #` or `sent_no` changes (an "
        "empty one continues it), or that of `document`, or, where no column names sentences, at a blank "
        "row. A lone quote is a word, quoted or not. Without a header, `words_column` and the others are "
        "numbers from 0.",
    ),
    "csv lists": Example(
        "csv",
        "CSV with a list per row",
        "pandas' `to_csv` of a data set",
        {
            "train.csv": "tokens,ner_tags\n"
            "\"['Brinda', 'Okafor', 'moved', 'to', 'Tarvo', '.']\",\"['B-PER', 'I-PER', 'O', 'O', "
            "'B-LOC', 'O']\"\n"
            "\"['Nobody', 'wrote', '.']\",\"['O', 'O', 'O']\"\n"
        },
    ),
    "csv spaces": Example(
        "csv",
        "CSV with a sentence per row",
        "Kaggle",
        {
            "train.csv": "text,labels\n"
            "Brinda Okafor moved to Tarvo .,B-PER I-PER O O B-LOC O\n"
            "Nobody wrote .,O O O\n"
        },
        note="Words and tags are separated by spaces, and are as many.",
    ),
    "csv spans": Example(
        "csv",
        "CSV with a text and its entities per row",
        "Label Studio, pandas' `to_csv` of texts with entities",
        {
            "train.csv": "id,text,label\n"
            '1,Brinda Okafor moved to Tarvo.,"[{""start"": 0, ""end"": 13, ""labels"": [""PER""]}, '
            '{""start"": 23, ""end"": 28, ""labels"": [""LOC""]}]"\n'
            "2,Nobody wrote.,\n"
        },
        note="A list as JSON or Python: of objects with `start`, `end` and `label` or `labels`, or of lists "
        'such as `[0, 13, "PER"]`. The column is `label`, `labels`, `entities`, `spans` or `annotations`.',
    ),
    "csv entities": Example(
        "csv",
        "CSV with an entity per row",
        "spreadsheets, pandas' `to_csv` of a list of entities",
        {
            "train.csv": "id,text,start,end,label\n"
            "1,Brinda Okafor moved to Tarvo.,0,13,PER\n"
            "1,Brinda Okafor moved to Tarvo.,23,28,LOC\n"
            "2,Nobody wrote.,,,\n"
        },
        note="Rows with the same text, and the same id where there is one, are one text. A text without "
        "entities has a row without start, end and label. A column `entity`, `mention` or `value` states the "
        "text of an entity.",
    ),
    "jsonl": Example(
        "jsonl",
        "JSONL with words and tags",
        "Hugging Face data sets",
        {
            "train.jsonl": '{"tokens": ["Brinda", "Okafor", "moved", "to", "Tarvo", "."], '
            '"ner_tags": ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]}\n'
            '{"tokens": ["Nobody", "wrote", "."], "ner_tags": ["O", "O", "O"]}\n'
        },
        note="Fields `tokens` or `words`, and `ner_tags`, `tags`, `labels` or `ner`. One JSON list of "
        'such objects is read as well, also inside an object: `{"data": [...]}`. Objects may be over several '
        "lines. Different words in `tokens` and `words` are refused; `data.files.words_column` names one.",
    ),
    "numbers": Example(
        "jsonl",
        "JSON with numbers for tags",
        "Hugging Face data sets, `to_json`",
        {
            "train.json": '{"tokens": ["Brinda", "Okafor", "moved", "to", "Tarvo", "."], '
            '"ner_tags": [1, 2, 0, 0, 3, 0]}\n'
            '{"tokens": ["Nobody", "wrote", "."], "ner_tags": [0, 0, 0]}\n'
        },
        {"tag_names": "O,B-PER,I-PER,B-LOC,I-LOC"},
        note="`tag_names` may also be a file: one name per line, a JSON list, or JSON that maps names to "
        "numbers, or numbers to names.",
    ),
    "doccano": Example(
        "jsonl",
        "doccano",
        "doccano",
        {
            "admin.jsonl": '{"id": 1, "text": "Brinda Okafor moved to Tarvo.", '
            '"label": [[0, 13, "PER"], [23, 28, "LOC"]]}\n'
            '{"id": 2, "text": "Nobody wrote.", "label": []}\n'
        },
        note="In JSON, brat and DocBin: if all labels are tags (B-PER, I-PER, O), the entities that they "
        "mean are read, with a notice; a file where only some labels are tags is refused. A label that only "
        "looks like a tag, such as B-cell, is a type. A fourth item may be the entity's text: "
        '`[0, 13, "PER", "Brinda Okafor"]`. Chinese corpora have the offsets by type and text: '
        '`{"PER": {"Brinda Okafor": [[0, 12]]}}`.',
    ),
    "doccano, labels": Example(
        "jsonl",
        "doccano with the field labels",
        "older versions of doccano",
        {
            "admin.json": '{"id": 1, "text": "Brinda Okafor moved to Tarvo.", '
            '"labels": [[0, 13, "PER"], [23, 28, "LOC"]]}\n'
            '{"id": 2, "text": "Nobody wrote.", "labels": []}\n'
        },
    ),
    "doccano, relations": Example(
        "jsonl",
        "doccano with relations",
        "doccano, projects with relations",
        {
            "admin.jsonl": '{"id": 1, "text": "Brinda Okafor moved to Tarvo.", "entities": [{"id": 1, '
            '"label": "PER", "start_offset": 0, "end_offset": 13}, {"id": 2, "label": "LOC", '
            '"start_offset": 23, "end_offset": 28}], "relations": []}\n'
            '{"id": 2, "text": "Nobody wrote.", "entities": [], "relations": []}\n'
        },
        note="Relations are not read.",
    ),
    "arcgis": Example(
        "jsonl",
        "ArcGIS",
        "arcgis.learn's `ner_json`",
        {
            "train.json": '{"text": "Brinda Okafor moved to Tarvo.", "labels": [[0, 13, "PER"], [23, 28, '
            '"LOC"]]}\n'
            '{"text": "Nobody wrote.", "labels": []}\n'
        },
    ),
    "label studio": Example(
        "jsonl",
        "Label Studio, JSON",
        "Label Studio",
        {
            "project.json": '[\n  {"id": 1, "data": {"text": "Brinda Okafor moved to Tarvo."}, '
            '"annotations": [{"result": [\n'
            '    {"type": "labels", "from_name": "label", "to_name": "text",\n'
            '     "value": {"start": 0, "end": 13, "text": "Brinda Okafor", "labels": ["PER"]}},\n'
            '    {"type": "labels", "from_name": "label", "to_name": "text",\n'
            '     "value": {"start": 23, "end": 28, "text": "Tarvo", "labels": ["LOC"]}}]}]},\n'
            '  {"id": 2, "data": {"text": "Nobody wrote."}, "annotations": [{"result": []}]}\n]\n'
        },
        note="The entities of several controls are all read, with a notice; `data.files.tags_column` names "
        "one, as its `from_name`. Of several annotations of a task the ground truth is read, or the first "
        "if none is; cancelled ones are left out. Both are counted. Labels of paragraphs (ParagraphLabels) "
        "are refused, and those of web pages (HyperText) whose offsets do not fit the source of the page.",
    ),
    "label studio, min": Example(
        "jsonl",
        "Label Studio, JSON-MIN",
        "Label Studio",
        {
            "project-min.json": '[\n  {"id": 1, "text": "Brinda Okafor moved to Tarvo. Nobody wrote.", '
            '"label": [\n'
            '    {"start": 0, "end": 13, "text": "Brinda Okafor", "labels": ["PER"]},\n'
            '    {"start": 23, "end": 28, "text": "Tarvo", "labels": ["LOC"]}],\n'
            '   "annotator": 1, "annotation_id": 7}\n]\n'
        },
        note="The field is named as the control of the project. The entities of several controls are all "
        "read, with a notice; `data.files.tags_column` names one.",
    ),
    "prodigy": Example(
        "jsonl",
        "Prodigy",
        "Prodigy's `db-out`",
        {
            "annotations.jsonl": '{"text": "Brinda Okafor moved to Tarvo.", "tokens": ['
            '{"text": "Brinda", "start": 0, "end": 6, "id": 0}, {"text": "Okafor", "start": 7, "end": '
            '13, "id": 1}, '
            '{"text": "moved", "start": 14, "end": 19, "id": 2}, {"text": "to", "start": 20, "end": 22, '
            '"id": 3}, '
            '{"text": "Tarvo", "start": 23, "end": 28, "id": 4}, {"text": ".", "start": 28, "end": 29, '
            '"id": 5}], '
            '"spans": [{"start": 0, "end": 13, "token_start": 0, "token_end": 1, "label": "PER"}, '
            '{"start": 23, "end": 28, "token_start": 4, "token_end": 4, "label": "LOC"}], "answer": '
            '"accept"}\n'
            '{"text": "Nobody wrote.", "spans": [], "answer": "accept"}\n'
        },
        note="Tokens are kept as they are; without them, the text is split into words. Tokens that state "
        "another text than there is are refused; text that none covers is left out, with a notice. What was "
        "rejected or ignored is left out and counted.",
    ),
    "gliner": Example(
        "jsonl",
        "GLiNER",
        "GLiNER's training data",
        {
            "train.json": '[\n  {"tokenized_text": ["Brinda", "Okafor", "moved", "to", "Tarvo", "."], '
            '"ner": [[0, 1, "PER"], [4, 4, "LOC"]]},\n'
            '  {"tokenized_text": ["Nobody", "wrote", "."], "ner": []}\n]\n'
        },
        note="The numbers count words; the last one is included. `data.files.tags_column` names another "
        "field than `ner`.",
    ),
    "spacy pairs": Example(
        "jsonl",
        "spaCy's pairs",
        "scripts for spaCy",
        {
            "train.json": '[\n  ["Brinda Okafor moved to Tarvo.", {"entities": [[0, 13, "PER"], [23, 28, '
            '"LOC"]]}],\n'
            '  ["Nobody wrote.", {"entities": []}]\n]\n'
        },
    ),
    "spacy json": Example(
        "jsonl",
        "spaCy's `Doc.to_json`",
        "spaCy 3, displaCy",
        {
            "train.jsonl": '{"text": "Brinda Okafor moved to Tarvo.", "ents": [{"start": 0, "end": 13, '
            '"label": "PER"}, {"start": 23, "end": 28, "label": "LOC"}], "tokens": ['
            '{"id": 0, "start": 0, "end": 6}, {"id": 1, "start": 7, "end": 13}, '
            '{"id": 2, "start": 14, "end": 19}, {"id": 3, "start": 20, "end": 22}, '
            '{"id": 4, "start": 23, "end": 28}, {"id": 5, "start": 28, "end": 29}]}\n'
            '{"text": "Nobody wrote.", "ents": []}\n'
        },
        note="Tokens are kept as they are; without them, as in what displaCy shows, the text is split into "
        "words.",
    ),
    "spacy 2": Example(
        "jsonl",
        "spaCy 2's training JSON",
        "`spacy convert` of spaCy 2",
        {
            "train.json": '[{"id": 0, "paragraphs": [{"sentences": [\n'
            '  {"tokens": [{"id": 0, "orth": "Brinda", "ner": "B-PER"}, {"id": 1, "orth": "Okafor", '
            '"ner": "L-PER"},\n'
            '              {"id": 2, "orth": "moved", "ner": "O"}, {"id": 3, "orth": "to", "ner": "O"},\n'
            '              {"id": 4, "orth": "Tarvo", "ner": "U-LOC"}, {"id": 5, "orth": ".", "ner": '
            '"O"}]},\n'
            '  {"tokens": [{"id": 6, "orth": "Nobody", "ner": "O"}, {"id": 7, "orth": "wrote", "ner": "O"},\n'
            '              {"id": 8, "orth": ".", "ner": "O"}]}]}]}]\n'
        },
    ),
    "docbin": Example(
        "spacy",
        "spaCy's DocBin",
        "spaCy 3, Prodigy's `data-to-spacy`",
        code="""import spacy
from spacy.tokens import DocBin

nlp = spacy.blank("en")
docs = [nlp("Brinda Okafor moved to Tarvo."), nlp("Nobody wrote.")]
docs[0].ents = [docs[0].char_span(0, 13, "PER"), docs[0].char_span(23, 28, "LOC")]
docs[1].ents = []
DocBin(docs=docs).to_disk("train.spacy")
""",
        name="train.spacy",
        note="Needs spaCy. Tokens are kept as they are, and so are sentences where they are annotated.",
    ),
    "brat": Example(
        "brat",
        "brat standoff",
        "brat",
        {
            "train/letter.txt": "Brinda Okafor moved to Tarvo.\nNobody wrote.\n",
            "train/letter.ann": "T1\tPER 0 13\tBrinda Okafor\nT2\tLOC 23 28\tTarvo\n",
        },
        note="A folder of texts, each with its `.ann` file. Discontinuous entities are read from their "
        "first to their last character; relations, events and attributes are left out. Both are counted.",
    ),
    "webanno": Example(
        "webanno",
        "WebAnno TSV 3",
        "INCEpTION, WebAnno",
        {
            "letter.tsv": "#FORMAT=WebAnno TSV 3.3\n"
            "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value\n\n\n"
            "#Text=Brinda Okafor moved to Tarvo.\n"
            "1-1\t0-6\tBrinda\t*[1]\tPER[1]\t\n"
            "1-2\t7-13\tOkafor\t*[1]\tPER[1]\t\n"
            "1-3\t14-19\tmoved\t_\t_\t\n"
            "1-4\t20-22\tto\t_\t_\t\n"
            "1-5\t23-28\tTarvo\t*\tLOC\t\n"
            "1-6\t28-29\t.\t_\t_\t\n\n"
            "#Text=Nobody wrote.\n"
            "2-1\t30-36\tNobody\t_\t_\t\n"
            "2-2\t37-42\twrote\t_\t_\t\n"
            "2-3\t42-43\t.\t_\t_\t\n"
        },
        note="Read from the layer of named entities; `data.files.tags_column` names another layer or "
        "feature.",
    ),
    "pubtator": Example(
        "pubtator",
        "PubTator",
        "biomedical corpora such as BC5CDR and NCBI Disease",
        {
            "train.pubtator": "1|t|Brinda Okafor moved to Tarvo.\n1|a|Nobody wrote.\n"
            "1\t0\t13\tBrinda Okafor\tPER\tQ1\n1\t23\t28\tTarvo\tLOC\tQ2\n"
        },
        note="Offsets count the characters of title, a space, and abstract. Relations are left out.",
    ),
    "conllu": Example(
        "conllu",
        "CoNLL-U with entities in MISC",
        "Universal Dependencies, Stanza",
        {
            "train.conllu": "# sent_id = 1\n# text = Brinda Okafor moved to Tarvo.\n"
            "1\tBrinda\t_\tPROPN\t_\t_\t3\tnsubj\t_\tNER=B-PER\n"
            "2\tOkafor\t_\tPROPN\t_\t_\t1\tflat\t_\tNER=I-PER\n"
            "3\tmoved\tmove\tVERB\t_\t_\t0\troot\t_\t_\n"
            "4\tto\tto\tADP\t_\t_\t5\tcase\t_\t_\n"
            "5\tTarvo\t_\tPROPN\t_\t_\t3\tobl\t_\tNER=B-LOC|SpaceAfter=No\n"
            "6\t.\t.\tPUNCT\t_\t_\t3\tpunct\t_\t_\n\n"
            "# sent_id = 2\n# text = Nobody wrote.\n"
            "1\tNobody\t_\tPRON\t_\t_\t2\tnsubj\t_\t_\n"
            "2\twrote\twrite\tVERB\t_\t_\t0\troot\t_\tSpaceAfter=No\n"
            "3\t.\t.\tPUNCT\t_\t_\t2\tpunct\t_\t_\n\n"
        },
        note="The key is `NER`, `Entity` (brackets, as `(person` and `person)`), `ner` or `NE`; "
        "`data.files.tags_column` names another one. Tags have the forms that they have in columns.",
    ),
    "conll2012": Example(
        "conll2012",
        "CoNLL-2012",
        "OntoNotes 5",
        {
            "train.gold_conll": "#begin document (letters/1); part 000\n"
            + _rows("""
letters/1 0 0 Brinda NNP (TOP(S(NP* -    - - - (PER* - -
letters/1 0 1 Okafor NNP *)         -    - - - *)    - -
letters/1 0 2 moved  VBD (VP*       move 1 1 - *     - -
letters/1 0 3 to     IN  (PP*       -    - - - *     - -
letters/1 0 4 Tarvo  NNP (NP*)))    -    - - - (LOC) - -
letters/1 0 5 .      .   *))        -    - - - *     - -

letters/1 0 0 Nobody NN  (TOP(S(NP*) -   - - - *     - -
letters/1 0 1 wrote  VBD (VP*)      -    - - - *     - -
letters/1 0 2 .      .   *))        -    - - - *     - -
""")
            + "\n#end document\n"
        },
    ),
    "parquet": Example(
        "parquet",
        "Parquet",
        "Hugging Face data sets, pandas",
        code="""import pyarrow
from pyarrow.parquet import write_table

rows = [
    {
        "tokens": ["Brinda", "Okafor", "moved", "to", "Tarvo", "."],
        "ner_tags": ["B-PER", "I-PER", "O", "O", "B-LOC", "O"],
    },
    {"tokens": ["Nobody", "wrote", "."], "ner_tags": ["O", "O", "O"]},
]
write_table(pyarrow.Table.from_pylist(rows), "train.parquet")
""",
        name="train.parquet",
        note="Fields as in JSON: words with tags, or texts with entities. Numbers get the names that "
        "`datasets` stores with them, also the types of entities.",
    ),
    "save_to_disk": Example(
        "parquet",
        "A folder of `save_to_disk`",
        "`datasets`",
        code="""from datasets import ClassLabel, Dataset, Features, Sequence, Value

tags = ClassLabel(names=["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
rows = {
    "tokens": [["Brinda", "Okafor", "moved", "to", "Tarvo", "."], ["Nobody", "wrote", "."]],
    "ner_tags": [[1, 2, 0, 0, 3, 0], [0, 0, 0]],
}
features = Features({"tokens": Sequence(Value("string")), "ner_tags": Sequence(tags)})
Dataset.from_dict(rows, features).save_to_disk("train")
""",
        name="train",
        note="Of a `DatasetDict`, `data.dataset` names the folder with its splits.",
    ),
}
