"""Both recursions."""

import pytest

from ner_lightning.model.crf import sums


@pytest.fixture(params=["as is", "log space"])
def recursion(request, monkeypatch):
    """Both recursions, where CPU tensors would otherwise often get the scaled one alone."""
    if request.param == "log space":
        monkeypatch.setattr(sums, "scaled_posterior", lambda *args, **options: None)
    return request.param
