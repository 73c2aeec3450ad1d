"""A small Hugging Face Hub on this machine, for tests that run the real client libraries.

It answers what huggingface_hub, datasets and transformers ask when HF_ENDPOINT names it: repository
information, trees, path information, refs, access checks and files, with the headers and the error
codes of the real one; and what huggingface_hub asks to upload (`hub_uploads`). HF_ENDPOINT is read when
huggingface_hub is imported, so the client is a
child process, started with `HubServer.env`.
"""

import hashlib
import json
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from hub_uploads import Uploads

ROOT = Path(__file__).resolve().parent.parent
API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(.*))?")
FILE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
GATED = (401, 403)


@dataclass
class Repo:
    """One repository: what each branch points to, and each commit's files."""

    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)


class Reply(NamedTuple):
    """An answer; the content type is that of JSON by default."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - read only
    content_type: str = "application/json"


class HubServer:
    """The server, as a context manager: it listens from `with` on, and leaves nothing at the end.

    Attributes:
        url: what HF_ENDPOINT has to be.
        requests: every request as "METHOD /path", in the order of arrival.
        uploads: what was uploaded, and who may.
        page_size: entries in one page of a tree listing; more make a Link header.
    """

    def __init__(self, page_size: int = 1000):
        self.page_size = page_size
        self.requests: list[str] = []
        self._repos: dict[tuple[str, str], Repo] = {}
        self._renamed: dict[str, str] = {}
        self._status: dict[str, int] = {}
        self._files_only: dict[str, bool] = {}
        self._drops: dict[str, int | None] = {}
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.uploads = Uploads(self)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Stops listening; from now on nothing answers at `url`."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def add_repo(self, kind, repo_id, files, revision="main"):
        """Puts a commit with these files on a branch.

        Args:
            kind: "models" or "datasets".
            repo_id: "org/name".
            files: path in the repository -> content.
            revision: the branch, for example "refs/convert/parquet".

        Returns:
            The commit's SHA.
        """
        digest = hashlib.sha1(f"{kind}/{repo_id}/{revision}".encode(), usedforsecurity=False)
        for path in sorted(files):
            digest.update(path.encode() + b"\0" + files[path])
        commit = digest.hexdigest()
        repo = self._repos.setdefault((kind, repo_id), Repo())
        repo.branches[revision] = commit
        repo.commits[commit] = dict(files)
        return commit

    def files(self, kind, repo_id):
        """The files on the main branch; None without such a repository."""
        repo = self._repos.get((kind, repo_id))
        return None if repo is None else repo.commits[repo.branches["main"]]

    def rename(self, old, new):
        """Makes an old id, such as one without an organisation, redirect to the new one."""
        self._renamed[old] = new

    def fail(self, repo_id, status, *, files_only=False):
        """Refuses a repository.

        401 and 403 make it gated: as on the real Hub its name and its list of files stay public,
        and the files and the access check are refused. 404 hides it; any other status is the answer
        to every request. With `files_only` all but the files themselves can still be had.
        """
        self._status[repo_id] = status
        self._files_only[repo_id] = files_only

    def drop(self, repo_id, times=None):
        """Closes the connection half-way through a file, `times` times, or always if None.

        A request to resume (one with a Range) is closed before any byte, so that a client that
        resumes does not creep to the end.
        """
        self._drops[repo_id] = times

    def env(self, home, **extra):
        """The environment in which a child process takes this server for the Hub.

        Args:
            home: the folder for HF_HOME: nothing outside it is read or written.
            extra: variables to add.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            # No token, cache, proxy or switch of the machine's owner may reach the child.
            if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))
            and not name.lower().endswith("_proxy")
        }
        return kept | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "PYTHONPATH": str(ROOT),
            "TOKENIZERS_PARALLELISM": "false",
            "CUDA_VISIBLE_DEVICES": "",
            **extra,
        }

    def serve_this_process(self, monkeypatch, cache):
        """Makes the process of a test take this server for the Hub, until the test ends.

        It patches what `env` would set before huggingface_hub is imported; faster than another process.

        Args:
            monkeypatch: the test's.
            cache: the folder of the Hub's cache.
        """
        import huggingface_hub
        from huggingface_hub import constants

        from ner_lightning.data import positions, pretrained

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", self.url)
        monkeypatch.setattr("transformers.utils.hub._hf_api", None, raising=False)  # another such, made later
        for cached in (pretrained._on_hub, positions.positions):
            cached.cache_clear()

    # What follows answers; it is called from the handler's threads.

    def answer(self, method, target, body, authorization=None):
        """Finds the answer to one request, HEAD being answered like GET."""
        with self._lock:
            self.requests.append(f"{method} {target}")
        url = urlsplit(target)
        if uploaded := self.uploads.answer(method, url.path, body, authorization):
            return Reply(*uploaded)
        query = parse_qs(url.query)
        if match := FILE.fullmatch(url.path):
            kind, repo_id, revision, path = match.groups()
            return self._file(kind or "models", repo_id, unquote(revision), unquote(path))
        if match := API.fullmatch(url.path):
            kind, repo_id, rest = match.groups()
            if repo_id not in self._renamed and (kind, repo_id) not in self._repos:
                return self._redirect(url.path) or _missing_repo()
            return self._api(kind, repo_id, rest or "", query, body, target)
        return self._redirect(url.path) or Reply(404, _json({"error": "no such page"}))

    def takes_drop(self, repo_id):
        """Whether to break this transfer off; counts it."""
        with self._lock:
            if repo_id not in self._drops:
                return False
            left = self._drops[repo_id]
            if left is not None:
                self._drops[repo_id] = left - 1
            return left is None or left > 0

    def _redirect(self, path):
        for old, new in self._renamed.items():
            found = re.match(rf"(/api/(?:models|datasets)/|/datasets/|/){re.escape(old)}(/|$)", path)
            if found:
                return Reply(307, headers={"Location": found[1] + new + path[found.end(0) - len(found[2]) :]})
        return None

    def _refused(self, repo_id, what):
        status = self._status.get(repo_id)
        behind_gate = what in ("file", "auth-check")
        if status is None or (status in GATED and not behind_gate):
            return None
        if self._files_only[repo_id] and what != "file":
            return None
        if status == 404:
            return _missing_repo()
        if status not in GATED:
            return Reply(status, _json({"error": "out of order"}))
        why = "you must be logged in" if status == 401 else "you are not in the authorized list"
        text = f"Access to {repo_id} is restricted and {why}."
        return Reply(status, _json({"error": text}), {"X-Error-Code": "GatedRepo", "X-Error-Message": text})

    def _commit(self, kind, repo_id, revision):
        repo = self._repos[kind, repo_id]
        commit = repo.branches.get(revision, revision)
        return commit if commit in repo.commits else None

    def _file(self, kind, repo_id, revision, path):
        if (kind, repo_id) not in self._repos:
            return _missing_repo()
        if refused := self._refused(repo_id, "file"):
            return refused
        commit = self._commit(kind, repo_id, revision)
        if commit is None:
            return _missing("RevisionNotFound", f"Invalid rev id: {revision}")
        content = self._repos[kind, repo_id].commits[commit].get(path)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if content is None:
            return _missing("EntryNotFound", "Entry not found", headers)
        headers["ETag"] = f'"{_oid(content)}"'
        return Reply(200, content, headers, "application/octet-stream")

    def _api(self, kind, repo_id, rest, query, body, target):
        what, _, rest = rest.partition("/")
        if refused := self._refused(repo_id, what):
            return refused
        if what == "auth-check":
            return Reply(200, _json({}))
        if what == "refs":
            return self._refs(kind, repo_id)
        if what not in ("", "revision", "tree", "paths-info"):
            return _missing("EntryNotFound", f"no {what} here")
        revision, _, path = rest.partition("/")
        commit = self._commit(kind, repo_id, unquote(revision) or "main")
        if commit is None:
            return _missing("RevisionNotFound", f"Invalid rev id: {unquote(revision)}")
        files = self._repos[kind, repo_id].commits[commit]
        if what == "tree":
            return self._tree(files, unquote(path), query, target)
        if what == "paths-info":
            asked = parse_qs(body.decode()).get("paths", [])
            entries = {entry["path"]: entry for entry in _entries(files)}
            return Reply(200, _json([entries[path] for path in asked if path in entries]))
        return Reply(200, _json(self._info(repo_id, commit, files)))

    def _info(self, repo_id, commit, files):
        gated = "manual" if self._status.get(repo_id) in GATED else False
        siblings = [{"rfilename": path} for path in sorted(files)]
        return {
            "_id": commit[:24],
            "id": repo_id,
            "modelId": repo_id,
            "sha": commit,
            "private": False,
            "gated": gated,
            "siblings": siblings,
            "tags": [],
        }

    def _refs(self, kind, repo_id):
        branches = self._repos[kind, repo_id].branches
        found = {"branches": [], "converts": [], "tags": []}
        for name, commit in branches.items():
            group = "converts" if name.startswith("refs/convert/") else "branches"
            ref = name if name.startswith("refs/") else f"refs/heads/{name}"
            short = name.removeprefix("refs/convert/")
            found[group].append({"name": short, "ref": ref, "targetCommit": commit})
        return Reply(200, _json(found))

    def _tree(self, files, folder, query, target):
        prefix = folder + "/" if folder else ""
        inside = [entry for entry in _entries(files) if entry["path"].startswith(prefix)]
        if not inside:
            return _missing("EntryNotFound", f"{folder} does not exist")
        if query.get("recursive", ["false"])[0].lower() != "true":
            inside = [entry for entry in inside if "/" not in entry["path"][len(prefix) :]]
        start = int(query.get("cursor", ["0"])[0])
        stop = start + self.page_size
        headers = {}
        if stop < len(inside):
            following = {name: values[0] for name, values in query.items()} | {"cursor": str(stop)}
            page = f"{self.url}{urlsplit(target).path}?{urlencode(following)}"
            headers["Link"] = f'<{page}>; rel="next"'
        return Reply(200, _json(inside[start:stop]), headers)


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        """Says nothing: the requests are kept in a list."""

    def do_GET(self):
        self._serve()

    def do_HEAD(self):
        self._serve()

    def do_POST(self):
        self._serve()

    def do_PUT(self):
        self._serve()

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.hub.uploads.breaks_off(self.path):
            self.close_connection = True
            return
        reply = self.hub.answer(self.command, self.path, body, self.headers.get("Authorization"))
        status, content, headers = reply.status, reply.body, dict(reply.headers)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        is_file = status == 200 and "ETag" in headers
        if is_file and wanted:
            first = int(wanted[1])
            last = min(int(wanted[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            status, content = 206, content[first : last + 1]
        cut = is_file and self.command == "GET" and self.hub.takes_drop(self._repo_id())
        if cut and wanted:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # a client that has read enough is gone
                self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def _repo_id(self):
        return FILE.fullmatch(urlsplit(self.path).path)[2]


def _entries(files):
    """Every file and folder of a commit, as a tree listing names them."""
    folders = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    entries = [{"type": "directory", "oid": _oid(b""), "size": 0, "path": path} for path in folders]
    for path, content in files.items():
        entries.append({"type": "file", "oid": _oid(content), "size": len(content), "path": path})
    return sorted(entries, key=lambda entry: entry["path"])


def _oid(content):
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _json(value):
    return json.dumps(value).encode()


def _missing_repo():
    return _missing("RepoNotFound", "Repository not found")


def _missing(code, text, headers=None):
    named = {"X-Error-Code": code, "X-Error-Message": text}
    return Reply(404, _json({"error": text}), (headers or {}) | named)
