"""Label Studio's own checks of tasks, from its SDK."""

import warnings
from xml.sax.saxutils import quoteattr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own models use deprecated parts of pydantic
    from label_studio_sdk.label_interface import LabelInterface


def errors_of(tasks, types, config=None):
    """What Label Studio finds wrong with tasks in a project of these labels, or of this config."""
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in types)
    usual = f'<Labels name="label" toName="text">{labels}</Labels><Text name="text" value="$text"/>'
    project = LabelInterface(config or f"<View>{usual}</View>")
    found = []
    for number, task in enumerate(tasks, start=1):
        if not isinstance(task["data"]["text"], str):
            found.append(f"task {number}: no text")
        results = [*task.get("annotations", ()), *task.get("predictions", ())]
        errors = [
            error for each in results for error in project.validate_prediction(each, return_errors=True)
        ]
        found += [f"task {number}: {error}" for error in errors]
    return found
