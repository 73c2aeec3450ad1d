def read_conllu(o, p):
    raise NotImplementedError


def is_conllu(l, s):
    return False
