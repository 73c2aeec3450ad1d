def is_spacy_json(r):
    return False


def read_spacy_json(i, s):
    return []
