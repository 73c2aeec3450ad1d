"""What the small Hub answers to uploads: new repositories, metadata, files of Git LFS, and commits."""

import base64
import hashlib
import json
import re

import yaml

COMMIT = re.compile(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main")
BATCH = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
OBJECT = re.compile(r"/lfs/(verify/)?([0-9a-f]{64})")
LARGE = (".safetensors", ".onnx", "tokenizer.json")  # by .gitattributes and size, on the real one
WRITE, READ = "hf_write", "hf_read"  # tokens


class Uploads:
    """The requests that write.

    Attributes:
        private: whether each repository that was created is private.
        objects: contents by their SHA-256.
        large: paths that came through Git LFS, and not within the commit.
        broken: the path at whose beginning the connection is closed, or None.
        failing: the status that every upload of a file gets, or None; that of Xet storage is 403.
    """

    def __init__(self, hub):
        self._hub = hub
        self.objects = {}
        self.private = {}
        self.large = set()
        self.broken = None
        self.failing = None

    def breaks_off(self, target):
        """Whether to close the connection without an answer."""
        return self.broken is not None and target.startswith(self.broken)

    def answer(self, method, path, body, authorization):
        """Status, body and headers; None if the request writes nothing."""
        if method == "POST" and path == "/api/validate-yaml":
            return self._metadata(json.loads(body)["content"])
        if match := OBJECT.fullmatch(path):  # whose address was given to the writer only
            return self._object(match[1] is not None, match[2], body)
        if "/xet-write-token/" in path:
            return _json({"error": "refused"}, 403)
        steps = {"preupload": self._modes, "commit": self._commit}
        if method != "POST":
            return None
        if path == "/api/repos/create":
            return _refused(authorization) or self._create(json.loads(body))
        if match := BATCH.fullmatch(path):
            return _refused(authorization) or self._batch(json.loads(body))
        if match := COMMIT.fullmatch(path):
            if refused := _refused(authorization):
                return refused
            if self._hub.files("models", match[1]) is None:
                return _json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return steps[match[2]](match[1], body)
        return None

    def _create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        address = {"url": f"{self._hub.url}/{name}"}
        if self._hub.files("models", name) is not None:
            return _json(address | {"error": "You already created this model repo"}, 409)
        self._hub.add_repo("models", name, {".gitattributes": b"*.safetensors filter=lfs"})
        self.private[name] = wanted.get("visibility") == "private"
        return _json(address)

    def _metadata(self, content):
        problems = list(_problems(content))
        return _json({"errors": [{"message": text} for text in problems]}, 400 if problems else 200)

    def _modes(self, repo_id, body):
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(body)["files"]
        ]
        return _json({"files": files})

    def _batch(self, wanted):
        assert wanted["operation"] == "upload"
        objects = []
        for each in wanted["objects"]:
            actions = {
                "upload": {"href": f"{self._hub.url}/lfs/{each['oid']}"},
                "verify": {"href": f"{self._hub.url}/lfs/verify/{each['oid']}"},
            }
            known = each["oid"] in self.objects
            objects.append(each if known else each | {"actions": actions})
        return _json({"transfer": "basic", "objects": objects})

    def _object(self, verify, oid, body):
        if self.failing is not None:
            return _json({"error": "refused"}, self.failing)
        if verify:
            return _json({}, 200 if oid in self.objects else 404)
        if hashlib.sha256(body).hexdigest() != oid:
            return _json({"error": "not what was announced"}, 400)
        self.objects[oid] = body
        return _json({})

    def _commit(self, repo_id, body):
        files = dict(self._hub.files("models", repo_id))
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    return _json({"error": f"{value['path']} was not uploaded"}, 400)
                files[value["path"]] = self.objects[value["oid"]]
                self.large.add(value["path"])
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        commit = self._hub.add_repo("models", repo_id, files)
        return _json({"commitUrl": f"{self._hub.url}/{repo_id}/commit/{commit}", "commitOid": commit})


def _problems(content):
    """What the real Hub refuses in the metadata of a card."""
    parts = content.split("---\n")
    head = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
    for name in ("base_model", "datasets"):
        values = head.get(name, [])
        for value in [values] if isinstance(values, str) else values:
            if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", value):
                yield f'"{name}" with value "{value}" is not valid. Use an id from https://hf.co.'
    for model in head.get("model-index", ()):
        if not isinstance(model.get("name"), str) or not isinstance(model.get("results"), list):
            yield '"model-index" needs a name and results'
            continue
        for result in model["results"]:
            yield from _result_problems(result)


def _result_problems(result):
    for part, name in (("task", "type"), ("dataset", "type"), ("dataset", "name")):
        if not isinstance(result.get(part, {}).get(name), str):
            yield f'"model-index[0].results[0].{part}.{name}" is required'
    for metric in result.get("metrics", ()):
        if not isinstance(metric.get("type"), str) or "value" not in metric:
            yield '"model-index[0].results[0].metrics" need a type and a value'


def _refused(authorization):
    token = (authorization or "").removeprefix("Bearer ")
    if token == WRITE:
        return None
    if token == READ:
        return _json({"error": "Forbidden: you must use a write token to upload to a repository."}, 403)
    return _json({"error": "Invalid username or password."}, 401)


def _json(value, status=200, headers=None):
    return status, json.dumps(value).encode(), headers or {}
