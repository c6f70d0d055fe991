"""The two servers of the local hub: what each answers to which request."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from repositories import Content, Repository

if TYPE_CHECKING:
    from local_hub import LocalHub


@dataclass(frozen=True)
class Request:
    """What was asked, and what was sent back."""

    method: str
    path: str
    status: int
    token: str | None
    range: str | None
    sent: int  # bytes of the body
    of_store: bool  # asked of the server that holds the large files


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: LocalHub, *, of_store: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Store if of_store else _Hub)
        self.hub, self.of_store = hub, of_store
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is no fault of the hub's."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Refusal(Exception):
    """An answer with an error, as the hub words it."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    """Sending and logging; what is sent is the business of the two servers."""

    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two packets: the second would wait for the client to confirm
    # the first, which takes 40 ms.
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.hub = self.server.hub

    def log_message(self, *arguments: object) -> None:
        """The log is a list."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    @property
    def token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.hub.fault_of(self.path, "status")
        try:
            if fault is None or fault.status is None:
                self.answer()
            else:
                headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
                self.send(fault.status, fault.body.encode(), headers)
        except _Refusal as refusal:
            headers = {"X-Error-Message": refusal.message}
            if refusal.code is not None:
                headers["X-Error-Code"] = refusal.code
            self.send_json({"error": refusal.message}, status=refusal.status, headers=headers)

    def answer(self) -> None:
        raise NotImplementedError("abstract: the hub and the store answer differently")

    def send_json(
        self, content: object, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        headers = {"Content-Type": "application/json", **(headers or {})}
        self.send(status, json.dumps(content).encode(), headers)

    def send_content(self, content: Content, headers: dict[str, str]) -> None:
        """Send a file, or what a range asks of it."""
        start, stop, status = 0, content.size, 200
        asked = self.headers.get("Range")
        if asked is not None:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, status = int(first), 206
            stop = min(content.size, int(last) + 1) if last else content.size
            if start >= content.size:
                self.send(416, b"", headers | {"Content-Range": f"bytes */{content.size}"})
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
        body = content.path.read_bytes()[start:stop]
        headers |= {"Accept-Ranges": "bytes", "ETag": f'"{content.etag}"'}
        fault = self.hub.fault_of(self.path, "cut_at") if self.command == "GET" else None
        if fault is None or fault.cut_at is None:
            self.send(status, body, headers)
        else:
            self.send(status, body, headers, cut=max(0, fault.cut_at - start), hold=fault.hold)

    def send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str],
        *,
        cut: int | None = None,
        hold: bool = False,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        sent = b"" if self.command == "HEAD" else body[:cut]
        # Before the client sees an answer: its next request would otherwise be logged first.
        self.hub.log(
            Request(
                self.command,
                self.path,
                status,
                self.token,
                self.headers.get("Range"),
                len(sent),
                self.server.of_store,
            )
        )
        with suppress(ConnectionError):
            self.end_headers()
            self.wfile.write(sent)
            self.wfile.flush()
        if cut is not None and cut < len(body):
            self.close_connection = True
            with suppress(OSError):
                if hold:
                    self.connection.recv(1)
                self.connection.shutdown(socket.SHUT_RDWR)


class _Store(_Handler):
    """Where large files lie: `/<kind>/<owner>/<name>/<commit>/<file>`."""

    def answer(self) -> None:
        kind, owner, name, commit, file = unquote(self.path).lstrip("/").split("/", 4)
        repository = self.hub.repositories.at(kind, f"{owner}/{name}", commit)
        if repository is None or file not in repository.files:
            raise _Refusal(404, None, "No such file")
        self.send_content(self.hub.served(self.path, repository.files[file]), {})


class _Hub(_Handler):
    """The hub itself."""

    def answer(self) -> None:
        if self.hub.known_tokens is not None and self.token not in {None, *self.hub.known_tokens}:
            raise _Refusal(401, None, "Invalid credentials in Authorization header")
        path = urlsplit(self.path).path.lstrip("/")
        if path.startswith("api/"):
            self._answer_api(path.removeprefix("api/"))
        elif "/resolve/" in path:
            self._answer_file(path)
        else:
            raise _Refusal(404, None, "No such page")

    def _repository(self, kind: str, name: str, revision: str) -> Repository:
        repositories = self.hub.repositories
        if not repositories.has(kind, name):
            # Who is not logged in learns nothing of what there is.
            if self.token is None:
                raise _Refusal(401, "RepoNotFound", "Invalid username or password.")
            raise _Refusal(404, "RepoNotFound", "Repository not found")
        repository = repositories.at(kind, name, revision)
        if repository is None:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository

    def _answer_api(self, path: str) -> None:
        kind, owner, name, *rest = path.split("/")
        what, revision, *inside = [*map(unquote, rest), "", ""][: max(2, len(rest))]
        if kind not in ("models", "datasets"):
            raise _Refusal(404, None, "No such page")
        repository = self._repository(kind, f"{owner}/{name}", revision or "main")
        asked = parse_qs(urlsplit(self.path).query)
        match what:
            case "" | "revision":
                self.send_json(self._information(repository, blobs="blobs" in asked))
            case "tree":
                recursive = asked.get("recursive", ["false"])[0].lower() in ("true", "1")
                self.send_json(list(_tree(repository, "/".join(inside), recursive=recursive)))
            case "paths-info":
                paths = parse_qs(self.body.decode()).get("paths", [])
                entries = {entry["path"]: entry for entry in _tree(repository, "", recursive=True)}
                self.send_json([entries[path] for path in paths if path in entries])
            case "refs":
                self.send_json(self._references(repository))
            case _:
                raise _Refusal(404, None, "No such page")

    def _information(self, repository: Repository, *, blobs: bool) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = []
        for name, content in repository.files.items():
            sibling: dict[str, Any] = {"rfilename": name}
            if blobs:
                sibling |= {"size": content.size, "blobId": content.git_oid}
                sibling |= {"lfs": content.lfs} if content.large else {}
            siblings.append(sibling)
        return {
            "id": repository.name,
            "sha": repository.commit,
            "private": False,
            "gated": "manual" if repository.name in self.hub.gated else False,
            "siblings": siblings,
        }

    def _references(self, repository: Repository) -> dict[str, list]:
        revisions = self.hub.repositories.revisions(repository.kind, repository.name)
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": revision.commit}
            for name, revision in revisions.items()
        ]
        return {"branches": branches, "tags": [], "converts": []}

    def _answer_file(self, path: str) -> None:
        where, _, what = path.partition("/resolve/")
        revision, _, file = what.partition("/")
        kind = "datasets" if where.startswith("datasets/") else "models"
        name, file = where.removeprefix("datasets/"), unquote(file)
        repository = self._repository(kind, name, unquote(revision))
        headers = {"X-Repo-Commit": repository.commit}
        if name in self.hub.gated and self.token not in self.hub.gated[name]:
            message = f"Access to {kind.removesuffix('s')} {name} is restricted."
            raise _Refusal(401 if self.token is None else 403, "GatedRepo", message)
        if file not in repository.files:
            raise _Refusal(404, "EntryNotFound", "Entry not found")
        content = self.hub.served(self.path, repository.files[file])
        if not content.large:
            self.send_content(content, headers)
            return
        quoted = urlsplit(self.path).path.partition("/resolve/")[2].partition("/")[2]
        location = f"{self.hub.store_url}/{kind}/{name}/{repository.commit}/{quoted}"
        headers |= {"X-Linked-Etag": f'"{content.sha256}"', "X-Linked-Size": str(content.size)}
        self.send(302, b"", {**headers, "Location": location})


def _tree(repository: Repository, inside: str, *, recursive: bool) -> Iterator[dict[str, Any]]:
    """Entries of a folder of the repository, folders first."""
    start = f"{inside}/" if inside else ""
    if inside and inside not in {*repository.folders, *repository.files}:
        raise _Refusal(404, "EntryNotFound", f"{inside} does not exist")

    def belongs(path: str) -> bool:
        return path.startswith(start) and (recursive or "/" not in path.removeprefix(start))

    for path in filter(belongs, repository.folders):
        yield {"type": "directory", "oid": repository.commit, "size": 0, "path": path}
    for path, content in repository.files.items():
        if belongs(path) or path == inside:
            entry = {
                "type": "file",
                "oid": content.git_oid,
                "size": content.size,
                "path": path,
            }
            lfs = {key: value for key, value in content.lfs.items() if key != "sha256"}
            yield entry | ({"lfs": lfs | {"oid": content.sha256}} if content.large else {})
