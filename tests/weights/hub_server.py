"""A local stand-in of the Hugging Face Hub: the part of its HTTP API that an upload and a download
of models use, with Git commits as numbers and large files by their hash."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Hub:
    """Repositories in memory, served over HTTP."""

    def __init__(self):
        self.commits = {}
        """Repository -> its commits, each a hash and the files by path."""
        self.large = {}
        """Hash -> content."""
        self.requests = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def _serve(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                path = unquote(urlsplit(self.path).path)
                hub.requests.append((self.command, path))
                status, headers, content = hub.answer(self.command, path, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def files(self, repository, revision="main"):
        commits = self.commits[repository]
        if revision == "main":
            return commits[-1]
        return next((commit for commit in commits if commit[0] == revision), None)

    def add(self, repository, files):
        """Add a commit with other or more files, and return its hash."""
        commits = self.commits.setdefault(repository, [(40 * "0", {})])
        digest = hashlib.sha1(f"{repository} {len(commits)}".encode()).hexdigest()
        commits.append((digest, {**commits[-1][1], **files}))
        return digest

    def answer(self, method, path, body):
        for pattern, function in (
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate),
            (r"/api/models/(?P<repository>[^/]+/[^/]+)/preupload/.+", self._preupload),
            (r"/api/models/(?P<repository>[^/]+/[^/]+)/commit/.+", self._commit),
            (
                r"/api/models/(?P<repository>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?",
                self._info,
            ),
            (r"/api/models/(?P<repository>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)", self._tree),
            (r"/(?P<repository>[^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/large/(?P<digest>\w+)", self._large),
            (r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)", self._file),
        ):
            if match := re.fullmatch(pattern, path):
                return function(method, body, **match.groupdict())
        return 404, {}, b"no such address"

    def _json(self, value):
        return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def _create(self, method, body):
        table = json.loads(body)
        name = "/".join(filter(None, (table.get("organization"), table["name"])))
        self.commits.setdefault(name, [(40 * "0", {})])
        return self._json({"url": f"{self.url}/{name}", "name": name})

    def _validate(self, method, body):
        assert json.loads(body)["content"].startswith("---\n")
        return self._json({"errors": [], "warnings": []})

    def _preupload(self, method, body, repository):
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        return self._json({"files": files})

    def _batch(self, method, body, repository):
        objects = [
            {**item, "actions": {"upload": {"href": f"{self.url}/large/{item['oid']}"}}}
            for item in json.loads(body)["objects"]
        ]
        return self._json({"transfer": "basic", "objects": objects})

    def _large(self, method, body, digest):
        assert method == "PUT"
        assert hashlib.sha256(body).hexdigest() == digest
        self.large[digest] = body
        return 200, {}, b""

    def _commit(self, method, body, repository):
        files = {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
        digest = self.add(repository, files)
        return self._json(
            {"commitUrl": f"{self.url}/{repository}/commit/{digest}", "commitOid": digest}
        )

    def _info(self, method, body, repository, revision):
        if repository not in self.commits:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        commit = self.files(repository, revision or "main")
        if commit is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        siblings = [{"rfilename": name} for name in commit[1]]
        return self._json({"id": repository, "sha": commit[0], "siblings": siblings})

    def _tree(self, method, body, repository, revision):
        commit = self.files(repository, revision)
        entries = [
            {
                "type": "file",
                "path": name,
                "size": len(content),
                "oid": hashlib.sha1(content).hexdigest(),
            }
            for name, content in commit[1].items()
        ]
        return self._json(entries)

    def _file(self, method, body, repository, revision, name):
        commit = self.files(repository, revision)
        if commit is None or name not in commit[1]:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        content = commit[1][name]
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": commit[0],
            "Content-Length": str(len(content)),
        }
        return 200, headers, content
