"""A small stand-in for the Hugging Face Hub: dataset repositories in memory, over HTTP."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0" * 40
TOKEN = "hf_of_the_tests"
PAGES = "https://huggingface.co/datasets"  # as a mirror says, which repeats the hub's own answers


class StandIn(ThreadingHTTPServer):
    """Predictions the requests that huggingface_hub makes to read and to write dataset files."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos = {}  # "owner/name" -> {"file": bytes}
        self.private = set()  # repositories that were made so

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def hub():
    """Give a hub that serves until the block ends."""
    with StandIn() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[0] == "datasets":  # datasets/OWNER/NAME/resolve/REVISION/FILE
            return self._send_file("/".join(parts[1:3]), "/".join(parts[5:]))
        repo = "/".join(parts[2:4])  # api/datasets/OWNER/NAME/...
        files = self.server.repos.get(repo)
        if files is None:
            return self._fail(404, "RepoNotFound")
        tree = [
            {"type": "file", "path": name, "size": len(content), "oid": COMMIT}
            for name, content in files.items()
        ]
        facts = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        return self._send(tree if "tree" in parts else facts)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._fail(401, None)
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[-1] == "create":
            asked = json.loads(body)
            repo = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
            self.server.repos.setdefault(repo, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.server.private.add(repo)
            return self._send({"url": f"{PAGES}/{repo}", "name": repo})
        repo = "/".join(parts[2:4])
        if "preupload" in parts:
            named = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in named]
            return self._send({"files": modes})
        for line in body.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                content = base64.b64decode(entry["value"]["content"])
                self.server.repos[repo][entry["value"]["path"]] = content
        url = f"{PAGES}/{repo}/commit/{COMMIT}"
        return self._send({"commitUrl": url, "commitOid": COMMIT, "success": True})

    def _send_file(self, repo, name):
        if repo not in self.server.repos:
            return self._fail(404, "RepoNotFound")
        if name not in self.server.repos[repo]:
            return self._fail(404, "EntryNotFound")
        content = self.server.repos[repo][name]
        etag = f'"{hash(content) & 0xFFFFFFFF:08x}"'
        return self._reply(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT})

    def _send(self, answer):
        return self._reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _fail(self, status, code):
        self._reply(status, b"{}", {"X-Error-Code": code} if code else {})

    def _reply(self, status, content, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        """Stay silent."""
