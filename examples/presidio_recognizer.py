"""A recogniser of Microsoft Presidio: a trained tagger finds names, beside Presidio's own patterns."""

import spacy
from presidio_analyzer import AnalyzerEngine, EntityRecognizer, RecognizerRegistry, RecognizerResult
from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine

from ner_lightning.inference.ner_tagger import NERTagger

# What Presidio calls the types of CoNLL-2003; other types keep their names.
NAMES = {"PER": "PERSON", "LOC": "LOCATION", "ORG": "ORGANIZATION"}


class TrainedRecognizer(EntityRecognizer):
    """Finds entities with a trained tagger.

    Args:
        tagger: the tagger, for example `NERTagger.from_run("runs/last")`.
        language: the language of its texts.
    """

    def __init__(self, tagger: NERTagger, language: str = "en") -> None:
        self.tagger = tagger
        supported = [NAMES.get(label, label) for label in tagger.labels.types]
        super().__init__(supported, name="ner-lightning", supported_language=language)

    def load(self) -> None:
        """Does nothing: the tagger is loaded."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """The entities of a text that have one of the names in `entities`."""
        found = [(NAMES.get(each.label, each.label), each) for each in self.tagger(text).entities]
        return [
            RecognizerResult(name, each.start, each.end, round(each.score, 6))
            for name, each in found
            if name in entities
        ]


def analyzer(tagger: NERTagger, language: str = "en") -> AnalyzerEngine:
    """An analyzer with Presidio's patterns (e-mail, IBAN, ...) and the tagger; it needs no model of spaCy."""
    engine = SpacyNlpEngine([{"lang_code": language, "model_name": ""}])
    engine.nlp = {language: spacy.blank(language)}  # Presidio wants words for the context of its patterns
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers([language], nlp_engine=engine)
    registry.remove_recognizer("SpacyRecognizer")
    registry.add_recognizer(TrainedRecognizer(tagger, language))
    return AnalyzerEngine(registry, engine, supported_languages=[language])
